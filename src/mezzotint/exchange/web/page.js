// The page: controls, a Worker that makes pictures, and what they become. MODEL comes from model.js.

const $ = (id) => document.getElementById(id);
const [CHANNELS, HEIGHT, WIDTH] = MODEL.shape;
const MAX_SEED = 2n ** 63n - 1n;
const MOST_FRAMES = 24; // of the way that are shown
const MOST_KEPT = 48; // pictures of the gallery

// A Blob, since a page from file:// may load neither modules nor a worker's file.
const worker = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));
let chosen = null; // the class: a number, as many as there are classes for none, null for one drawn from the seed
let orders = 0; // so many so far; answers to older ones are dropped
let order = null; // the one that is being made, or was made last
let made = null; // the finished picture: {order, bytes}

/** Draws bytes (height, width, channels) on a canvas, at their own size. */
function draw(canvas, bytes) {
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const image = new ImageData(WIDTH, HEIGHT);
  for (let p = 0; p < WIDTH * HEIGHT; p++) {
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = bytes[p * CHANNELS + (CHANNELS === 1 ? 0 : c)];
    image.data[4 * p + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function say(text, bad = false) {
  $("said").textContent = text;
  $("said").classList.toggle("bad", bad);
}

/** What the controls say, as an order for the worker. Throws an Error in words. */
function wanted() {
  const text = $("seed").value.trim();
  if (!/^\d{1,19}$/.test(text) || BigInt(text) > MAX_SEED) throw new Error("a seed is a whole number from 0 to 2^63 - 1");
  const steps = Number($("steps").value), guidance = Number($("guidance").value);
  if (!Number.isInteger(steps) || steps < 1 || steps > Number($("steps").max)) {
    throw new Error(`steps is a whole number from 1 to ${$("steps").max}`);
  }
  if (!(guidance >= 0 && guidance <= 100)) throw new Error("guidance is a number from 0 to 100; 1 is off");
  const settings = { ...MODEL.sample, sampler: $("sampler").value, steps, guidance };
  if (settings.sampler !== MODEL.sample.sampler) Object.assign(settings, { eta: 0, churn: 0 }); // the model's own belong to its own
  if (guidance === 1) Object.assign(settings, { guidance_interval: null, guidance_rescale: 0 });
  else settings.guidance_interval ??= [0, null];
  return { id: ++orders, seed: BigInt(text), label: chosen, prompt: $("prompt").value, negative: refused(guidance), settings };
}

/** What the picture is driven away from, null for nothing. */
function refused(guidance) {
  const text = $("negative").value.trim();
  if (text && guidance === 1) throw new Error("a negative prompt needs a guidance other than 1");
  return text || null;
}

const CONTROLS = ["seed", "steps", "guidance", "sampler", "prompt", "negative"];
const controls = () => CONTROLS.map((id) => $(id).value).join("\n");

function make() {
  try {
    order = wanted();
  } catch (error) {
    say(error.message, true);
    return;
  }
  Object.assign(order, { controls: controls(), began: performance.now() });
  $("way").replaceChildren();
  $("bar").firstElementChild.style.width = 0;
  $("stop").disabled = false;
  say("making");
  worker.postMessage(order);
}

function stop() {
  if ($("stop").disabled) return;
  worker.postMessage({ id: ++orders, stop: true });
  $("stop").disabled = true;
  say("stopped");
}

/** After a step: the noisy picture large and on the way, with the belief below. */
function show({ done, steps, state, belief }) {
  const last = done === steps;
  draw($("picture"), last ? belief : state);
  $("bar").firstElementChild.style.width = `${(100 * done) / steps}%`;
  if (!last && done % Math.ceil(steps / MOST_FRAMES)) return;
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  caption.textContent = done;
  figure.append(draw(document.createElement("canvas"), state), draw(document.createElement("canvas"), belief), caption);
  $("way").append(figure);
  $("way").scrollLeft = $("way").scrollWidth;
}

function finish({ belief, calls }) {
  const seconds = (performance.now() - order.began) / 1000;
  document.body.dataset.seconds = seconds.toFixed(3);
  say(`seed ${order.seed}: ${seconds.toFixed(2)} s, ${calls} network calls`);
  made = { order, bytes: belief };
  $("save").disabled = false;
  $("stop").disabled = true;
  const button = document.createElement("button"), { label, seed } = order;
  button.title = `${label === null || label === MODEL.classes.length ? "" : `${MODEL.classes[label]}, `}seed ${seed}`;
  button.setAttribute("aria-label", `again: ${button.title}`);
  button.append(draw(document.createElement("canvas"), belief));
  const kept = made;
  button.onclick = () => again(kept);
  $("gallery").prepend(button);
  while ($("gallery").children.length > MOST_KEPT) $("gallery").lastElementChild.remove();
}

/** Puts the settings of a finished picture back, and the picture with them. */
function again({ order: old, bytes }) {
  stop();
  $("seed").value = old.seed;
  $("steps").value = old.settings.steps;
  $("guidance").value = old.settings.guidance;
  $("sampler").value = old.settings.sampler;
  $("prompt").value = old.prompt;
  $("negative").value = old.negative ?? "";
  choose(old.label);
  order = { ...old, controls: controls() };
  made = { order: old, bytes };
  $("way").replaceChildren();
  draw($("picture"), bytes);
  say(`seed ${old.seed}`);
}

worker.onmessage = ({ data }) => {
  if (data.id !== orders) return;
  if (data.error) {
    $("stop").disabled = true;
    say(data.error, true);
    return;
  }
  show(data);
  if (data.done === data.steps) finish(data);
};
worker.onerror = (event) => say(`the page cannot compute here: ${event.message}`, true);

function choose(label) {
  chosen = label;
  for (const button of $("classes").children) button.setAttribute("aria-pressed", String(button.value === String(label)));
}

function move(by) {
  const seed = /^\d{1,19}$/.test($("seed").value.trim()) ? BigInt($("seed").value.trim()) : 0n;
  $("seed").value = seed + by < 0n ? 0n : seed + by > MAX_SEED ? MAX_SEED : seed + by;
  make();
}

function roll() {
  $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0];
  make();
}

function save() {
  if (!made) return;
  const link = document.createElement("a");
  const bytes = png(made.bytes, MODEL.shape, written(MODEL, made.order));
  link.href = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  link.download = `${MODEL.name}-${made.order.seed}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// --- the controls ---------------------------------------------------------------------------------------------

const { sample: usual } = MODEL;
if (MODEL.classes.length) {
  const buttons = [["any", null], ...MODEL.classes.map((name, i) => [name, i]), [MODEL.none, MODEL.classes.length]];
  for (const [name, label] of buttons) {
    const button = document.createElement("button");
    Object.assign(button, { textContent: name, value: String(label) });
    button.onclick = () => (choose(label), make());
    $("classes").append(button);
  }
  $("classes").firstElementChild.title = "a class drawn from the seed";
  choose(null);
} else {
  $("classes").remove();
  $("digits").remove();
}
if (MODEL.length) {
  $("words").hidden = false;
  $("not").hidden = !MODEL.guidable;
  $("prompt").value = MODEL.examples[0] ?? "";
  $("examples").append(...MODEL.examples.map((text) => new Option(text)));
}
$("guided").hidden = !MODEL.guidable;
$("steps").max = MODEL.table ? MODEL.table.length : 10_000;
$("steps").value = usual.steps;
$("guidance").value = usual.guidance;
for (const [name, when] of MODEL.samplers) $("sampler").add(new Option(name, name, false, name === usual.sampler));
for (const id of CONTROLS) $(id).onchange = () => order?.controls !== controls() && make();
Object.entries({ make, stop, save, dice: roll }).forEach(([id, act]) => ($(id).onclick = act));

document.onkeydown = (event) => {
  const typing = event.target.matches("input, select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") stop();
  else if (event.key === "Enter" && !event.target.matches("button")) make();
  else if (typing) return;
  else if (event.key === "ArrowLeft") move(-1n);
  else if (event.key === "ArrowRight") move(1n);
  else if (event.key.toLowerCase() === "r") roll();
  else if (event.key.toLowerCase() === "s") save();
  else if (/^\d$/.test(event.key) && Number(event.key) < MODEL.classes.length) {
    const named = MODEL.classes.indexOf(event.key);
    choose(named < 0 ? Number(event.key) : named);
    make();
  } else return;
  event.preventDefault();
};

Object.assign($("picture"), { width: WIDTH, height: HEIGHT });
worker.postMessage({ model: MODEL });
make();
