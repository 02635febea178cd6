// The decoder of an autoencoder, which a model of its codes ends with: nets/vae.py, and `Latents` of media/codec.py.

const LIMIT = 3; // of a code

/** x + f(x), two convolutions, each behind a norm and SiLU. */
function plainBlock(weights, name, x) {
  const h = convolution(silu(groupNorm(x, weights.layer(`${name}.norm1`))), weights.layer(`${name}.conv1`));
  return add(x, convolution(silu(groupNorm(h, weights.layer(`${name}.norm2`))), weights.layer(`${name}.conv2`)));
}

/** Twice the size: every position becomes four, of channels that are sorted otherwise, plus what a convolution adds (DC-AE, Chen et al.
 * 2024). */
function twice(weights, name, x) {
  const h = convolution(x, weights.layer(`${name}.conv`));
  const channels = h.channels / 4, times = h.channels / x.channels;
  for (let p = 0, i = 0; p < x.height * x.width; p++) {
    for (let c = 0; c < h.channels; c++) h.data[i++] += x.data[p * x.channels + Math.floor(c / times)];
  }
  const result = { data: new Float32Array(h.data.length), height: 2 * x.height, width: 2 * x.width, channels };
  for (let row = 0, to = 0; row < result.height; row++) {
    for (let column = 0; column < result.width; column++) {
      const from = ((row >> 1) * x.width + (column >> 1)) * h.channels + (row % 2) * 2 + (column % 2);
      for (let c = 0; c < channels; c++) result.data[to++] = h.data[from + 4 * c];
    }
  }
  return result;
}

/** The decoder: codes (latents, h, w) as the autoencoder gives them -> pictures (channels, factor h, factor w) of about [-1, 1]. */
function decoded(model, weights, code) {
  const { factor, blocks } = model.codec;
  const limited = code.map((value) => LIMIT * Math.tanh(value / LIMIT));
  let [x] = enter(limited, model.code, 1, 1), layer = 0;
  const next = () => `codec.coder.decoder.${layer++}`;
  x = convolution(x, weights.layer(next()));
  x = plainBlock(weights, next(), x);
  for (let level = Math.log2(factor) - 1; level >= 0; level--) {
    for (let i = 0; i < blocks; i++) x = plainBlock(weights, next(), x);
    if (level) x = twice(weights, next(), x);
  }
  x = silu(groupNorm(x, weights.layer(next())));
  layer += 1; // that of SiLU
  x = convolution(x, weights.layer(next()));
  return leave(x, model.shape, 2, 0, 0);
}

/** What codes stand for, as functions of a code (channels, height, width), standardised where an autoencoder made it, to bytes of a
 * picture (height, width, channels): `decode`, and `preview`, about the same at next to no cost. */
function codecOf(model, weights) {
  if (!model.codec) return { decode: (x) => toBytes(x, model.shape), preview: (x) => toBytes(x, model.shape) };
  const [latents, height, width] = model.code, { factor } = model.codec;
  const [mean, std, colours] = ["mean", "std", "colours"].map((name) => weights.numbers(`codec.${name}`));
  const channelOf = (i) => Math.floor(i / (height * width));
  return {
    decode: (code) => {
      const raw = code.map((value, i) => value * std[channelOf(i)] + mean[channelOf(i)]);
      return toBytes(decoded(model, weights, raw), model.shape);
    },
    /** The mean colour of the pixels of each element, which is linear in it. */
    preview: (code) => {
      const [channels, rows, columns] = model.shape;
      const picture = new Float32Array(channels * rows * columns).map((_, i) => {
        const c = Math.floor(i / (rows * columns)), row = Math.floor(i / columns) % rows, column = i % columns;
        const place = Math.floor(row / factor) * width + Math.floor(column / factor);
        let colour = colours[latents * channels + c];
        for (let k = 0; k < latents; k++) colour += code[k * height * width + place] * colours[k * channels + c];
        return colour;
      });
      return toBytes(picture, model.shape);
    },
  };
}
