// What a text means, as a sketch of 4x4 positions, which joins at the U-Net's entrance: nets/sketch.py.

const SKETCH_SIDE = 4, SKETCH_WIDTH = 96, SKETCH_HEADS = 3, SKETCH_GAIN = 4;
const PLAIN = { weight: new Float32Array(SKETCH_WIDTH).fill(1), bias: new Float32Array(SKETCH_WIDTH) }; // of a norm without its own

/** Positions look at the words, then an MLP whose norm the whole text scales and shifts; both beside a skip. */
function look(weights, name, x, { vectors, there }) {
  const layer = (part) => weights.layer(`${name}.${part}`);
  const positions = x.length / SKETCH_WIDTH, width = SKETCH_WIDTH / SKETCH_HEADS;
  const query = linear(layerNorm(x, layer("norm1")), layer("query"));
  const words = linear(vectors, layer("words"));
  const heads = new Float32Array(x.length);
  for (let first = 0; first < SKETCH_WIDTH; first += width) {
    const q = slice(query, SKETCH_WIDTH, first, width);
    const k = slice(words, 2 * SKETCH_WIDTH, first, width);
    const v = slice(words, 2 * SKETCH_WIDTH, SKETCH_WIDTH + first, width);
    const found = attend(q, k, v, width, (_, j) => there[j]);
    for (let p = 0; p < positions; p++) heads.set(found.subarray(p * width, (p + 1) * width), p * SKETCH_WIDTH + first);
  }
  x = sum([x, linear(heads, layer("out"))]);
  const modulation = linear(vectors.subarray(0, TEXT_WIDTH), layer("modulate"));
  const normed = layerNorm(x, PLAIN).map((value, at) => {
    const i = at % SKETCH_WIDTH;
    return value * (1 + modulation[i]) + modulation[SKETCH_WIDTH + i];
  });
  return sum([x, linear(siluOf(linear(normed, layer("mlp.0"))), layer("mlp.2"))]);
}

/** The sketch of a text as channels of a picture (height, width), as it is added at the entrance. */
function sketched(weights, text, height, width) {
  const places = coordinates(SKETCH_SIDE, SKETCH_SIDE);
  let x = linear(places.data, weights.layer("sketch.enter"));
  for (let i = 0; weights.has(`sketch.looks.${i}.query`); i++) x = look(weights, `sketch.looks.${i}`, x, text);
  const leave = weights.layer("sketch.leave");
  const drawn = { height: SKETCH_SIDE, width: SKETCH_SIDE, channels: leave.shape[0], data: linear(x, leave) };
  drawn.data.forEach((value, i) => (drawn.data[i] = SKETCH_GAIN * value));
  return pointwise(bilinear(drawn, height, width), weights.layer("sketch.join"));
}

/** A picture at another size, between its nearest four positions: position i of `size` lies at (i + 1/2) / size. */
function bilinear(x, height, width) {
  const near = (i, size, from) => {
    const at = Math.max(0, ((i + 0.5) * from) / size - 0.5);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, from - 1), at - low];
  };
  const data = new Float32Array(height * width * x.channels);
  for (let row = 0; row < height; row++) {
    const [top, bottom, down] = near(row, height, x.height);
    for (let column = 0; column < width; column++) {
      const [left, right, across] = near(column, width, x.width);
      for (let c = 0; c < x.channels; c++) {
        const value = (y, z) => x.data[(y * x.width + z) * x.channels + c];
        data[(row * width + column) * x.channels + c] =
          (1 - down) * ((1 - across) * value(top, left) + across * value(top, right)) +
          down * ((1 - across) * value(bottom, left) + across * value(bottom, right));
      }
    }
  }
  return { ...x, height, width, data };
}
