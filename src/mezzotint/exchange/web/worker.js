// A Worker that makes pictures: {model} once, then orders {id, seed, label, prompt, settings}; it answers {id, done, steps, state,
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

/** What a seed is asked to be: the class that is named, or one drawn from the seed, and a text's words. */
function askedOf(model, { seed, label, prompt }) {
  const drawn = () => model.drawn[Math.floor(uniform(seed, 0, CLASS_DRAW, 1)[0] * model.drawn.length)];
  return {
    label: model.classes.length ? (label ?? drawn()) : undefined,
    text: model.length ? numbersOf(prompt, model) : undefined,
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

let MODEL, network, newest;

async function make(order) {
  newest = order.id;
  try {
    for (const { done, x, x0, calls } of walk(MODEL, network, order)) {
      const state = toBytes(x, MODEL.shape), belief = toBytes(x0, MODEL.shape);
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
      network = NETWORKS[MODEL.network.kind](MODEL, new Weights(MODEL.tensors, MODEL.weights));
    } else if (data.stop) newest = data.id;
    else make(data);
  };
}
