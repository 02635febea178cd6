// The transformer: the forward pass of nets/dit.py. A token is a row of `width` numbers; what has no place, learnt tokens and
// words, stands before the patches.

/** x / sqrt(mean(x^2) + 1e-6) of every row of `width` numbers (Zhang & Sennrich 2019), times a weight of each number. */
function rmsNorm(x, width, weight) {
  const result = new Float32Array(x.length);
  for (let begin = 0; begin < x.length; begin += width) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += x[begin + i] ** 2;
    const inverse = 1 / Math.sqrt(squares / width + 1e-6);
    for (let i = 0; i < width; i++) result[begin + i] = x[begin + i] * inverse * (weight ? weight[i] : 1);
  }
  return result;
}

/** norm(x) (1 + scale) + shift; scale and shift: one number for each of a row. */
function modulated(x, shift, scale) {
  const width = shift.length;
  return rmsNorm(x, width).map((value, at) => value * (1 + scale[at % width]) + shift[at % width]);
}

/** How patches lie in a picture: sides [height, width] of one, laps by which it reaches into its neighbours, sides of what it sees,
 * grid of so many, and where the picture begins in one whose sides are multiples of the patch's. */
function tiled([channels, height, width], patch) {
  const patches = Array.isArray(patch) ? patch : [patch, patch];
  const sizes = [height, width];
  const more = sizes.map((size, a) => (patches[a] - (size % patches[a])) % patches[a]);
  const starts = more.map((count) => count >> 1);
  const laps = patches.map((side) => side >> 1);
  return {
    channels, sizes, patches, starts, laps,
    mirrors: sizes.every((size, a) => more[a] - starts[a] < size),
    sides: patches.map((side, a) => side + 2 * laps[a]),
    grid: sizes.map((size, a) => (size + more[a]) / patches[a]),
  };
}

/** What each patch sees, half a patch of its neighbours on every side with it, mirrored at the borders: (patches, rows, columns,
 * channels) of x (channels, height, width). */
function windowsOf(x, { channels, sizes, patches, starts, laps, mirrors, sides, grid }) {
  const [height, width] = sizes;
  const from = sizes.map((size, a) => Array.from({ length: grid[a] * patches[a] + 2 * laps[a] }, (_, i) => {
    const inside = source(i - laps[a], grid[a] * patches[a], true); // of the picture of whole patches
    return source(inside - starts[a], size, mirrors);
  }));
  const result = new Float32Array(grid[0] * grid[1] * sides[0] * sides[1] * channels);
  let to = 0;
  for (let row = 0; row < grid[0]; row++) {
    for (let column = 0; column < grid[1]; column++) {
      for (let dy = 0; dy < sides[0]; dy++) {
        for (let dx = 0; dx < sides[1]; dx++) {
          const place = from[0][row * patches[0] + dy] * width + from[1][column * patches[1] + dx];
          for (let c = 0; c < channels; c++) result[to++] = x[c * height * width + place];
        }
      }
    }
  }
  return result;
}

/** The way back: what a patch says fades over half a patch of its neighbours by sin^2 as theirs rises (Princen & Bradley 1986).
 * spoken: (patches, rows, columns, channels) -> (channels, height, width). */
function overlapped(spoken, { channels, sizes, patches, starts, laps, sides, grid }, bias) {
  const [height, width] = sizes;
  const window = sides.map((side, a) => Array.from({ length: side }, (_, i) => {
    const edge = Math.min(i, side - 1 - i) + 0.5; // from the nearer border
    return edge < 2 * laps[a] ? Math.sin((edge / (2 * laps[a])) * (Math.PI / 2)) ** 2 : 1;
  }));
  const total = grid.map((count, a) => { // what windows add up to, which at the ends is less, where a neighbour lacks
    const along = new Float64Array(count * patches[a] + 2 * laps[a]);
    for (let n = 0; n < count; n++) window[a].forEach((share, i) => (along[n * patches[a] + i] += share));
    return along;
  });
  const result = new Float32Array(channels * height * width);
  let at = 0;
  for (let row = 0; row < grid[0]; row++) {
    for (let column = 0; column < grid[1]; column++) {
      for (let dy = 0; dy < sides[0]; dy++) {
        for (let dx = 0; dx < sides[1]; dx++, at += channels) {
          const i = row * patches[0] + dy, j = column * patches[1] + dx;
          const y = i - laps[0] - starts[0], z = j - laps[1] - starts[1];
          if (y < 0 || y >= height || z < 0 || z >= width) continue;
          const share = (window[0][dy] * window[1][dx]) / (total[0][i] * total[1][j]);
          for (let c = 0; c < channels; c++) result[(c * height + y) * width + z] += share * spoken[at + c];
        }
      }
    }
  }
  return result.map((value, i) => value + bias[Math.floor(i / (height * width))]);
}

/** Cosines and sines of the angles by which the pairs of a head's numbers are turned, for each patch: its middle's coordinates, from
 * -1 to 1, times frequencies from pi / 2 to 4 pi, of which each head has its own. Pairs that are left over do not turn. */
function turns(grid, heads, size) {
  const pairs = size >> 1, each = Math.floor(pairs / 2), gaps = Math.max(heads * each - 1, 1);
  return Array.from({ length: heads }, (_, head) => {
    const cos = new Float32Array(grid[0] * grid[1] * pairs).fill(1), sin = new Float32Array(cos.length);
    for (let place = 0; place < grid[0] * grid[1]; place++) {
      [Math.floor(place / grid[1]), place % grid[1]].forEach((index, axis) => {
        for (let k = 0; k < each; k++) {
          const frequency = (Math.PI / 2) * 8 ** ((k * heads + head) / gaps);
          const angle = ((2 * index + 1) / grid[axis] - 1) * frequency;
          cos[place * pairs + axis * each + k] = Math.cos(angle);
          sin[place * pairs + axis * each + k] = Math.sin(angle);
        }
      });
    }
    return { cos, sin };
  });
}

/** Turns the pairs (x_i, x_(i + size / 2)) of rows of `size` numbers, those of the patches, which follow `count` others (RoFormer, Su et
 * al. 2021, eq. 16); in place. */
function turned(x, size, count, { cos, sin }) {
  const pairs = size >> 1;
  for (let row = count, at = 0; row < x.length / size; row++) {
    for (let i = row * size; i < row * size + pairs; i++, at++) {
      const a = x[i], b = x[i + pairs];
      x[i] = a * cos[at] - b * sin[at];
      x[i + pairs] = a * sin[at] + b * cos[at];
    }
  }
  return x;
}

/** Multi-head self-attention of x (tokens, width), of queries and keys of root mean square 1 times a gain, turned by their places; the
 * first `count` tokens have none. seen: which rows are looked at, see `attend`. */
function tokenAttention(weights, name, x, width, size, count, turning, seen) {
  const qkv = linear(x, weights.layer(`${name}.qkv`));
  const heads = new Float32Array(x.length);
  const gains = ["norm_q", "norm_k"].map((norm) => weights.numbers(`${name}.${norm}.weight`));
  for (let first = 0; first < width; first += size) {
    const turn = turning[first / size];
    const [q, k] = gains.map((gain, part) => {
      return turned(rmsNorm(slice(qkv, 3 * width, part * width + first, size), size, gain), size, count, turn);
    });
    const found = attend(q, k, slice(qkv, 3 * width, 2 * width + first, size), size, seen);
    for (let t = 0; t < x.length / width; t++) {
      for (let d = 0; d < size; d++) heads[t * width + first + d] = found[t * size + d];
    }
  }
  return linear(heads, weights.layer(`${name}.out`));
}

/** W3 (silu(W1 x) * W2 x) (Shazeer 2020). */
function swiglu(weights, name, x) {
  const both = linear(x, weights.layer(`${name}.inner`));
  const hidden = weights.layer(`${name}.inner`).shape[0] / 2;
  const gate = siluOf(slice(both, 2 * hidden, 0, hidden)), value = slice(both, 2 * hidden, hidden, hidden);
  return linear(gate.map((open, i) => open * value[i]), weights.layer(`${name}.outer`));
}

/** x + gate f(x), in each number of a row. */
const gated = (x, gate, f) => x.map((value, i) => value + gate[i % gate.length] * f[i]);

/** The transformer over patches that overlap: adaLN-zero (Peebles & Xie 2023), one modulation for all blocks and a table of each
 * (PixArt-alpha, Chen et al. 2024). */
function dit(model, weights) {
  const { width, depth, head_channels: size, patch } = model.network;
  const tiles = tiled(model.code, patch);
  const turning = turns(tiles.grid, width / size, size);

  return (x, told, given) => {
    let emb = conditioning(model, weights, told, given);
    let h = linear(linear(windowsOf(x, tiles), weights.layer("enter.narrow")), weights.layer("enter.widen"));
    const tokens = weights.tensors.get("tokens"), set = tokens.shape[1] * width; // a set of each class, the last one of none
    const row = model.classes.length ? (given.label ?? model.classes.length) : 0;
    let before = tokens.data.subarray(row * set, (row + 1) * set);
    let seen;
    if (weights.has("pooled")) {
      const text = encodedText(model, weights, given.text ?? [START]);
      h = sum([h, sketched(weights, text, ...tiles.grid).data]);
      emb = sum([emb, linear(text.vectors.subarray(0, TEXT_WIDTH), weights.layer("pooled"))]);
      before = chained(before, linear(text.vectors, weights.layer("word")));
      seen = (_, j) => text.there[j - tokens.shape[1]] ?? true; // all that are no words are there
    }
    const all = linear(siluOf(emb), weights.layer("modulate"));
    const part = (numbers, i) => numbers.subarray(i * width, (i + 1) * width);
    const count = before.length / width;
    h = chained(before, h);
    for (let i = 0; i < depth; i++) {
      const own = sum([all.subarray(0, 6 * width), weights.numbers(`blocks.${i}.table`)]);
      const [shift1, scale1, gate1, shift2, scale2, gate2] = [0, 1, 2, 3, 4, 5].map((k) => part(own, k));
      const looked = modulated(h, shift1, scale1);
      h = gated(h, gate1, tokenAttention(weights, `blocks.${i}.attention`, looked, width, size, count, turning, seen));
      h = gated(h, gate2, swiglu(weights, `blocks.${i}.mlp`, modulated(h, shift2, scale2)));
    }
    const last = modulated(h.subarray(count * width), part(all, 6), part(all, 7));
    const { data, shape } = weights.tensors.get("leave.weight"); // (rows, columns, channels, width)
    const spoken = linear(last, { weight: data, shape: [shape[0] * shape[1] * shape[2]] });
    return overlapped(spoken, tiles, weights.numbers("leave.bias"));
  };
}
