// A Worker that makes pictures: {model} once, then orders {id, seed, label, prompt, negative, settings}; it answers {id, done, steps, state,
// belief} after every step, with bytes (height, width, channels), and {id, error} where it cannot. A new order, or {id,
// stop}, ends the one before it.

/** Numbers in [-1, 1], (channels, height, width), as bytes (height, width, channels): the nearest ones. */
function toBytes(x, [channels, height, width]) {
  const bytes = new Uint8ClampedArray(x.length);
  for (let c = 0, from = 0; c < channels; c++) {
    for (let p = 0; p < height * width; p++, from++) bytes[p * channels + c] = rounded((x[from] + 1) * 127.5);
  }
  return bytes;
}

/** What a seed is asked to be: the class that is named, or one drawn from the seed, and a text's words; and the words that it is driven
 * away from, where there is a negative text. */
function askedOf(model, { seed, label, prompt, negative }) {
  const drawn = () => model.drawn[Math.floor(uniform(seed, 0, CLASS_DRAW, 1)[0] * model.drawn.length)];
  return {
    label: model.classes.length ? (label ?? drawn()) : undefined,
    text: model.length ? numbersOf(prompt, model) : undefined,
    negative: model.length && negative != null ? numbersOf(negative, model) : undefined,
  };
}

/** The states {done, x, x0} of an order, and at last its network calls. */
function* walk(model, network, order) {
  let calls = 0;
  const counted = (...given) => (calls++, network(...given));
  const answer = guided(model, denoiser(model, counted), order.settings, askedOf(model, order));
  const steps = sample(model, order.settings, order.seed);
  let next = steps.next();
  while (!next.done) {
    if (next.value.done) {
      yield { ...next.value, calls };
      next = steps.next();
    } else next = steps.next(answer(next.value));
  }
}

const NETWORKS = { unet, unet_simple: simpleUnet, dit };
let MODEL, network, codec, newest;

async function make(order) {
  newest = order.id;
  try {
    for (const { done, x, x0, calls } of walk(MODEL, network, order)) {
      const last = done === order.settings.steps;
      const state = codec.preview(x), belief = last ? codec.decode(x0) : codec.preview(x0);
      postMessage({ id: order.id, done, steps: order.settings.steps, calls, state, belief });
      await new Promise((resume) => setTimeout(resume)); // here a new order may come in
      if (newest !== order.id) return;
    }
  } catch (error) {
    postMessage({ id: order.id, error: error.message });
  }
}

if (typeof onmessage !== "undefined") {
  onmessage = ({ data }) => {
    if (data.model) {
      MODEL = data.model;
      const weights = new Weights(MODEL.tensors, MODEL.weights);
      network = NETWORKS[MODEL.network.kind](MODEL, weights);
      codec = codecOf(MODEL, weights);
    } else if (data.stop) newest = data.id;
    else make(data);
  };
}
