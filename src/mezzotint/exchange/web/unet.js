// The networks: the forward passes of nets/unet.py and nets/unet_simple.py, layer by layer, by the names of their weights.
//
// A network here is a function (x, told, {label, span, text}) -> F: x and F as Float32Arrays (channels, height, width), told
// and span the noise level and the length of the step, label a class's number, text word numbers.

/** The weights of a model by name, and what is made of them. Three bytes a number: the upper three of its float32. */
class Weights {
  constructor(tensors, base64) {
    const letters = atob(base64);
    const words = new Uint32Array(letters.length / 3);
    for (let i = 0, at = 0; i < words.length; i++, at += 3) {
      words[i] = (letters.charCodeAt(at) << 8) | (letters.charCodeAt(at + 1) << 16) | (letters.charCodeAt(at + 2) << 24);
    }
    const numbers = new Float32Array(words.buffer);
    this.tensors = new Map();
    let begin = 0;
    for (const [name, shape] of tensors) {
      const end = begin + shape.reduce((a, b) => a * b, 1);
      this.tensors.set(name, { data: numbers.subarray(begin, end), shape });
      begin = end;
    }
  }

  /** Whether there is a layer of that name. */
  has(name) {
    return this.tensors.has(`${name}.weight`);
  }

  numbers(name) {
    return this.tensors.get(name).data;
  }

  /** A layer: its weight, its bias or null, and the weight's shape, outputs first. */
  layer(name) {
    const { data, shape } = this.tensors.get(`${name}.weight`);
    return { weight: data, bias: this.tensors.get(`${name}.bias`)?.data ?? null, shape };
  }
}

/** Cosines and sines of t at geometrically spaced frequencies (Vaswani et al. 2017), each product rounded to 32 bits as there. */
function sinusoidal(t, frequencies, dim) {
  const waves = new Float32Array(dim);
  frequencies.forEach((frequency, i) => {
    const angle = Math.fround(Math.fround(t) * Math.fround(frequency));
    waves[i] = Math.cos(angle);
    waves[frequencies.length + i] = Math.sin(angle);
  });
  return waves;
}

/** The vector that modulates every block: an MLP of the noise level, another of the step's length, the class's row. */
function conditioning(model, weights, told, { label, span }) {
  const dim = weights.layer("conditioning.inner").shape[0];
  const waves = (t) => sinusoidal(t, model.frequencies, dim);
  const parts = [
    linear(siluOf(linear(waves(told), weights.layer("conditioning.inner"))), weights.layer("conditioning.outer")),
  ];
  if (weights.has("conditioning.span.0")) {
    const inner = linear(waves(span ?? 0), weights.layer("conditioning.span.0"));
    parts.push(linear(siluOf(inner), weights.layer("conditioning.span.2")));
  }
  const classes = model.classes.length;
  if (classes) {
    const row = label ?? classes; // the last one is of no class
    parts.push(weights.numbers("conditioning.table").subarray(row * dim, (row + 1) * dim));
  }
  return sum(parts);
}

/** Equally long arrays added up, rounded once. */
function sum(arrays) {
  return arrays[0].map((_, i) => arrays.reduce((total, array) => total + array[i], 0));
}

/** Where row or column i of a padded picture lies in one of `size`, mirrored at the edges, or repeated where it is too
 * small to be mirrored. */
function source(i, size, mirrors) {
  if (!mirrors) return Math.min(Math.max(i, 0), size - 1);
  return size - 1 - Math.abs(size - 1 - Math.abs(i));
}

/** (channels, height, width) padded evenly until `multiple` divides both sides, and squares of `patch` x `patch` pixels folded
 * into channels. Returns it with where the original begins. */
function enter(x, [channels, height, width], multiple, patch) {
  const rows = (multiple - (height % multiple)) % multiple;
  const columns = (multiple - (width % multiple)) % multiple;
  const top = rows >> 1, left = columns >> 1;
  const mirrors = rows - top < height && columns - left < width;
  const deep = channels * patch * patch;
  const inside = { height: (height + rows) / patch, width: (width + columns) / patch, channels: deep };
  const data = new Float32Array(inside.height * inside.width * deep);
  for (let row = 0; row < height + rows; row++) {
    for (let column = 0; column < width + columns; column++) {
      const from = source(row - top, height, mirrors) * width + source(column - left, width, mirrors);
      const place = Math.floor(row / patch) * inside.width + Math.floor(column / patch);
      const corner = (row % patch) * patch + (column % patch);
      for (let c = 0; c < channels; c++) {
        data[place * deep + c * patch * patch + corner] = x[c * height * width + from];
      }
    }
  }
  return [{ ...inside, data }, top, left];
}

/** `enter` undone: a picture's channels unfolded into squares of pixels, and cut to (channels, height, width). */
function leave(x, [channels, height, width], patch, top, left) {
  const result = new Float32Array(channels * height * width);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const y = row + top, z = column + left;
      const place = Math.floor(y / patch) * x.width + Math.floor(z / patch);
      const corner = (y % patch) * patch + (z % patch);
      for (let c = 0; c < channels; c++) {
        result[(c * height + row) * width + column] = x.data[place * x.channels + c * patch * patch + corner];
      }
    }
  }
  return result;
}

/** Norm, SiLU, convolution, twice, beside a skip; scale and shift of the second norm come from the conditioning: norm(h) (1 +
 * scale) + shift ("adaptive group norm", Dhariwal & Nichol 2021). */
function residualBlock(weights, name, x, emb) {
  const h = convolution(silu(groupNorm(x, weights.layer(`${name}.norm1`))), weights.layer(`${name}.conv1`));
  const modulation = linear(emb, weights.layer(`${name}.modulate`));
  const n = h.channels;
  const normed = groupNorm(h, weights.layer(`${name}.norm2`));
  for (let i = 0; i < normed.data.length; i++) {
    normed.data[i] = normed.data[i] * (1 + modulation[i % n]) + modulation[n + (i % n)];
  }
  const skip = weights.has(`${name}.skip`) ? pointwise(x, weights.layer(`${name}.skip`)) : x;
  return add(skip, convolution(silu(normed), weights.layer(`${name}.conv2`)));
}

/** x plus multi-head self-attention over its positions, which also look at the words of a text, if there is one. */
function attention(model, weights, name, x, text) {
  const { channels } = x, stride = 3 * channels;
  const width = Math.min(model.network.head_channels, channels);
  const qkv = linear(groupNorm(x, weights.layer(`${name}.norm`)).data, weights.layer(`${name}.qkv`));
  const words = text && weights.has(`${name}.words`) ? linear(text.vectors, weights.layer(`${name}.words`)) : null;
  const positions = x.height * x.width;
  const heads = new Float32Array(positions * channels);
  for (let first = 0; first < channels; first += width) {
    const q = slice(qkv, stride, first, width);
    let k = slice(qkv, stride, channels + first, width);
    let v = slice(qkv, stride, 2 * channels + first, width);
    let seen;
    if (words) {
      k = chained(k, slice(words, 2 * channels, first, width));
      v = chained(v, slice(words, 2 * channels, channels + first, width));
      seen = (i, j) => j < positions || text.there[j - positions];
    }
    const found = model.network.linear_attention ? attendLinearly(q, k, v, width) : attend(q, k, v, width, seen);
    for (let p = 0; p < positions; p++) {
      for (let d = 0; d < width; d++) heads[p * channels + first + d] = found[p * width + d];
    }
  }
  return add(x, pointwise({ ...x, data: heads }, weights.layer(`${name}.out`)));
}

/** Where each position lies: sin and cos of k pi / 2 times its row, then its column, from -1 to 1, k = 1 ... 4, as 16 channels
 * ("CoordConv" with waves, Liu et al. 2018). */
function coordinates(height, width) {
  const at = (i, size) => (size > 1 ? (2 * i) / (size - 1) - 1 : 0);
  const waves = (place) => [Math.sin, Math.cos].flatMap((f) => [1, 2, 3, 4].map((k) => f(((k * Math.PI) / 2) * place)));
  const places = { height, width, channels: 16, data: new Float32Array(height * width * 16) };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      places.data.set([...waves(at(row, height)), ...waves(at(column, width))], (row * width + column) * 16);
    }
  }
  return places;
}

/** The full U-Net: residual blocks with adaptive group norm, attention at chosen resolutions (Ho et al. 2020; Dhariwal &
 * Nichol 2021). Every output on the way down is a skip for one stage on the way up. */
function unet(model, weights) {
  const { multipliers, blocks, patch } = model.network;
  const levels = multipliers.length;

  return (x, told, given) => {
    const text = weights.has("pooled") ? encodedText(model, weights, given.text ?? [START]) : null;
    let emb = conditioning(model, weights, told, given);
    if (text) emb = sum([emb, linear(text.vectors.subarray(0, TEXT_WIDTH), weights.layer("pooled"))]);
    emb = siluOf(emb);

    const stage = (name, h) => {
      h = residualBlock(weights, `${name}.block`, h, emb);
      return weights.has(`${name}.attention.qkv`) ? attention(model, weights, `${name}.attention`, h, text) : h;
    };
    let [h, top, left] = enter(x, model.code, patch * 2 ** (levels - 1), patch);
    const skips = [];
    for (let i = 0; i < levels; i++) {
      if (i) h = convolution(h, weights.layer(`down.${i}.enter`), 2);
      else h = convolution(h, weights.layer("down.0.enter.1"));
      if (!i && text) {
        h = add(h, pointwise(coordinates(h.height, h.width), weights.layer("down.0.enter.2.project")));
        h = add(h, sketched(weights, text, h.height, h.width));
      }
      skips.push(h);
      for (let j = 0; j < blocks; j++) skips.push((h = stage(`down.${i}.stages.${j}`, h)));
    }
    for (let j = 0; j < 2; j++) h = stage(`middle.${j}`, h);
    for (let i = 0; i < levels; i++) {
      for (let j = 0; j <= blocks; j++) h = stage(`up.${i}.stages.${j}`, joined(h, skips.pop()));
      if (i < levels - 1) h = convolution(enlarged(h), weights.layer(`up.${i}.leave.1`));
    }
    const last = `up.${levels - 1}.leave`;
    h = convolution(silu(groupNorm(h, weights.layer(`${last}.0`))), weights.layer(`${last}.2`));
    return leave(h, model.code, patch, top, left);
  };
}

/** The simple U-Net: convolutions and skips, no attention (Ronneberger et al. 2015). */
function simpleUnet(model, weights) {
  const { levels, norm, down } = model.network;

  const normed = (name, h) => {
    const layer = weights.layer(name);
    if (norm === "group") return groupNorm(h, layer);
    const kept = { mean: weights.numbers(`${name}.running_mean`), variance: weights.numbers(`${name}.running_var`) };
    return batchNorm(h, { ...layer, ...kept });
  };
  /** Twice: 3x3 convolution, norm, SiLU; the conditioning is added between, as a bias of each channel. */
  const doubleConv = (name, x, emb) => {
    const h = silu(normed(`${name}.norm1`, convolution(x, weights.layer(`${name}.conv1`))));
    const bias = linear(emb, weights.layer(`${name}.bias`));
    for (let i = 0; i < h.data.length; i++) h.data[i] += bias[i % h.channels];
    return silu(normed(`${name}.norm2`, convolution(h, weights.layer(`${name}.conv2`))));
  };

  return (x, told, given) => {
    const emb = siluOf(conditioning(model, weights, told, given));
    let [h, top, left] = enter(x, model.code, 2 ** (levels - 1), 1);
    h = doubleConv("enter", h, emb);
    const skips = [];
    for (let i = 0; i < levels - 1; i++) {
      skips.push(h);
      h = down === "pool" ? pooled(h) : convolution(h, weights.layer(`shrink.${i}`), 2);
      h = doubleConv(`encoder.${i}`, h, emb);
    }
    for (let i = 0; i < levels - 1; i++) {
      h = joined(grow(h, weights.layer(`grow.${i}`)), skips.pop());
      h = doubleConv(`decoder.${i}`, h, emb);
    }
    return leave(pointwise(h, weights.layer("leave")), model.code, 1, top, left);
  };
}
