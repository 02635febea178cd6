// The layers of networks. A picture inside a network is {data, height, width, channels}: a Float32Array of positions,
// row by row, each with all of its channels. So a 1x1 convolution is a matrix product over the positions, and a 3x3 one
// the same over the nine neighbours laid side by side. Weights come as rows (out, ky, kx, in), as the export lays them.

/** y[r, c] = bias[c] + sum_i x[r, i] weight[c, i]: x (rows, inner), weight (columns, inner) -> (rows, columns).
 *
 * Nearly all of the time is spent here. Two rows by four columns at once, so that six loads serve eight products; at the
 * edges the last row or column is computed again. Sums are in 64 bits. */
function product(x, rows, inner, weight, columns, bias, y) {
  for (let c = 0; c < columns; c += 4) {
    const c1 = Math.min(c + 1, columns - 1);
    const c2 = Math.min(c + 2, columns - 1);
    const c3 = Math.min(c + 3, columns - 1);
    const w0 = c * inner, w1 = c1 * inner, w2 = c2 * inner, w3 = c3 * inner;
    for (let r = 0; r < rows; r += 2) {
      const r1 = Math.min(r + 1, rows - 1);
      const p = r * inner, q = r1 * inner;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let i = 0; i < inner; i++) {
        const a = x[p + i], b = x[q + i];
        const u = weight[w0 + i], v = weight[w1 + i], s = weight[w2 + i], t = weight[w3 + i];
        a0 += a * u; a1 += a * v; a2 += a * s; a3 += a * t;
        b0 += b * u; b1 += b * v; b2 += b * s; b3 += b * t;
      }
      const here = r * columns, below = r1 * columns;
      y[here + c] = a0; y[here + c1] = a1; y[here + c2] = a2; y[here + c3] = a3;
      y[below + c] = b0; y[below + c1] = b1; y[below + c2] = b2; y[below + c3] = b3;
    }
  }
  if (bias) for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < columns; c++) y[i++] += bias[c];
  return y;
}

/** W x + b for every row of x (rows, in): a linear layer, and over the positions of a picture a 1x1 convolution. */
function linear(x, { weight, bias, shape }) {
  const inner = weight.length / shape[0];
  const rows = x.length / inner;
  return product(x, rows, inner, weight, shape[0], bias, new Float32Array(rows * shape[0]));
}

/** The same over a picture's positions: a picture of as many channels as the layer gives. */
function pointwise(x, layer) {
  return { ...x, data: linear(x.data, layer), channels: layer.shape[0] };
}

const POSITIONS_AT_ONCE = 256; // of a convolution, whose neighbours are laid out together: what a cache holds

/** A 3x3 convolution with a border of zeros: every position's nine neighbours side by side, times the weights. */
function convolution(x, { weight, bias, shape }, stride = 1) {
  const { data, channels } = x;
  const height = Math.ceil(x.height / stride), width = Math.ceil(x.width / stride);
  const inner = 9 * channels;
  const result = new Float32Array(height * width * shape[0]);
  const rowsAtOnce = Math.max(1, Math.floor(POSITIONS_AT_ONCE / width));
  for (let top = 0; top < height; top += rowsAtOnce) {
    const rows = Math.min(rowsAtOnce, height - top);
    const neighbours = new Float32Array(rows * width * inner);
    let to = 0;
    for (let row = top; row < top + rows; row++) {
      for (let column = 0; column < width; column++) {
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++, to += channels) {
            const y = stride * row + dy, z = stride * column + dx;
            if (y < 0 || y >= x.height || z < 0 || z >= x.width) continue;
            const from = (y * x.width + z) * channels;
            for (let k = 0; k < channels; k++) neighbours[to + k] = data[from + k];
          }
        }
      }
    }
    const place = result.subarray(top * width * shape[0], (top + rows) * width * shape[0]);
    product(neighbours, rows * width, inner, weight, shape[0], bias, place);
  }
  return { data: result, height, width, channels: shape[0] };
}

/** A transposed 2x2 convolution of stride 2: every position becomes four, by a matrix of its own for each. */
function grow(x, { weight, bias, shape }) {
  const channels = shape[2]; // (2, 2, out, in)
  const four = linear(x.data, { weight, shape: [4 * channels] });
  const result = { data: new Float32Array(4 * x.height * x.width * channels), height: 2 * x.height, width: 2 * x.width, channels };
  for (let row = 0, from = 0; row < x.height; row++) {
    for (let column = 0; column < x.width; column++) {
      for (let dy = 0; dy < 2; dy++) {
        for (let dx = 0; dx < 2; dx++) {
          const to = ((2 * row + dy) * result.width + 2 * column + dx) * channels;
          for (let c = 0; c < channels; c++) result.data[to + c] = four[from++] + bias[c];
        }
      }
    }
  }
  return result;
}

/** Every position twice, in both directions: nearest-neighbour enlargement. */
function enlarged(x) {
  const result = { data: new Float32Array(4 * x.data.length), height: 2 * x.height, width: 2 * x.width, channels: x.channels };
  for (let row = 0; row < result.height; row++) {
    for (let column = 0; column < result.width; column++) {
      const from = ((row >> 1) * x.width + (column >> 1)) * x.channels;
      result.data.set(x.data.subarray(from, from + x.channels), (row * result.width + column) * x.channels);
    }
  }
  return result;
}

/** The largest of every 2x2 positions, channel by channel. */
function pooled(x) {
  const height = x.height >> 1, width = x.width >> 1, channels = x.channels;
  const result = new Float32Array(height * width * channels);
  for (let row = 0, to = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = (2 * row * x.width + 2 * column) * channels, below = from + x.width * channels;
      for (let c = 0; c < channels; c++, to++) {
        const upper = Math.max(x.data[from + c], x.data[from + channels + c]);
        result[to] = Math.max(upper, x.data[below + c], x.data[below + channels + c]);
      }
    }
  }
  return { data: result, height, width, channels };
}

/** Two pictures' channels one after the other, at every position. */
function joined(x, y) {
  const channels = x.channels + y.channels;
  const data = new Float32Array(x.height * x.width * channels);
  for (let i = 0; i < x.height * x.width; i++) {
    data.set(x.data.subarray(i * x.channels, (i + 1) * x.channels), i * channels);
    data.set(y.data.subarray(i * y.channels, (i + 1) * y.channels), i * channels + x.channels);
  }
  return { ...x, data, channels };
}

const add = (x, y) => ({ ...x, data: x.data.map((value, i) => value + y.data[i]) });

/** silu(z) = z / (1 + exp(-z)), of numbers (Hendrycks & Gimpel 2016; Ramachandran et al. 2017). */
function siluOf(numbers) {
  const result = new Float32Array(numbers.length);
  for (let i = 0; i < result.length; i++) result[i] = numbers[i] / (1 + Math.exp(-numbers[i]));
  return result;
}

const silu = (x) => ({ ...x, data: siluOf(x.data) });

const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** Group normalisation (Wu & He 2018): (x - mean) / sqrt(variance + 1e-5) over a group's channels and all positions, then
 * weight and bias of each channel. As many groups as divide the channels, at most 32, of at least 4 channels. */
function groupNorm(x, { weight, bias }) {
  const { data, channels } = x;
  const groups = gcd(gcd(32, channels), Math.max(1, channels >> 2));
  const size = channels / groups, positions = data.length / channels;
  const result = new Float32Array(data.length);
  for (let first = 0; first < channels; first += size) {
    let sum = 0, squares = 0;
    for (let p = 0, i = first; p < positions; p++, i += channels) for (let c = 0; c < size; c++) sum += data[i + c];
    const mean = sum / (positions * size);
    for (let p = 0, i = first; p < positions; p++, i += channels) {
      for (let c = 0; c < size; c++) squares += (data[i + c] - mean) ** 2;
    }
    const inverse = 1 / Math.sqrt(squares / (positions * size) + 1e-5);
    for (let c = first; c < first + size; c++) {
      const scale = inverse * weight[c], shift = bias[c] - mean * scale;
      for (let i = c; i < data.length; i += channels) result[i] = data[i] * scale + shift;
    }
  }
  return { ...x, data: result };
}

/** Batch normalisation as trained (Ioffe & Szegedy 2015): with the mean and variance that were kept. */
function batchNorm(x, { weight, bias, mean, variance }) {
  const scale = weight.map((w, c) => w / Math.sqrt(variance[c] + 1e-5));
  const data = x.data.map((value, i) => {
    const c = i % x.channels;
    return (value - mean[c]) * scale[c] + bias[c];
  });
  return { ...x, data };
}

/** softmax(scores) in place, of the numbers begin, begin + stride, ...: exp(z - largest) / sum. */
function softmax(scores, begin, count, stride = 1) {
  let largest = -Infinity, sum = 0;
  for (let i = 0, at = begin; i < count; i++, at += stride) largest = Math.max(largest, scores[at]);
  for (let i = 0, at = begin; i < count; i++, at += stride) sum += scores[at] = Math.exp(scores[at] - largest);
  for (let i = 0, at = begin; i < count; i++, at += stride) scores[at] /= sum;
}

/** Numbers first ... first + width - 1 of every row of x, whose rows have `stride` of them: (rows, width). */
function slice(x, stride, first, width) {
  const rows = x.length / stride;
  const result = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let d = 0; d < width; d++) result[row * width + d] = x[row * stride + first + d];
  }
  return result;
}

/** Two arrays one after the other. */
function chained(first, second) {
  const result = new Float32Array(first.length + second.length);
  result.set(first);
  result.set(second, first.length);
  return result;
}

/** x (rows, columns) as (columns, rows). */
function transposed(x, rows, columns) {
  const result = new Float32Array(x.length);
  for (let row = 0, i = 0; row < rows; row++) for (let c = 0; c < columns; c++) result[c * rows + row] = x[i++];
  return result;
}

const ROWS_AT_ONCE = 64; // whose scores are held

/** softmax(q k^T / sqrt(D)) v (Vaswani et al. 2017, eq. 1). q: (n, D); k, v: (m, D); seen(i, j): whether row i looks at
 * row j, all of them by default. Returns (n, D). */
function attend(q, k, v, width, seen) {
  const n = q.length / width, m = k.length / width;
  const result = new Float32Array(n * width);
  const columns = transposed(v, m, width);
  for (let first = 0; first < n; first += ROWS_AT_ONCE) {
    const rows = Math.min(ROWS_AT_ONCE, n - first), end = first + rows;
    const scores = product(q.subarray(first * width, end * width), rows, width, k, m, null, new Float32Array(rows * m));
    for (let i = 0, at = 0; i < rows; i++) {
      for (let j = 0; j < m; j++, at++) scores[at] = seen && !seen(first + i, j) ? -Infinity : scores[at] / Math.sqrt(width);
      softmax(scores, i * m, m);
    }
    product(scores, rows, m, columns, width, null, result.subarray(first * width, end * width));
  }
  return result;
}

/** Attention whose cost grows linearly with the positions (Shen et al. 2021): softmax over the features of q, over the
 * positions of k; k^T v (D, D) is formed first. q, k, v: (n, D), the first two are changed. Returns (n, D). */
function attendLinearly(q, k, v, width) {
  const n = q.length / width;
  for (let i = 0; i < n; i++) softmax(q, i * width, width);
  for (let d = 0; d < width; d++) softmax(k, d, n, width);
  const context = new Float64Array(width * width); // (of v, of k)
  for (let i = 0; i < n; i++) {
    for (let e = 0; e < width; e++) {
      for (let d = 0; d < width; d++) context[e * width + d] += k[i * width + d] * v[i * width + e];
    }
  }
  return product(q, n, width, context, width, null, new Float32Array(n * width));
}
