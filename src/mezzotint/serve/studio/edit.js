// Changing a picture: as a whole, where a brush went, larger, coloured; morphing.

import { Board } from "./board.js";
import { Mask } from "./brush.js";
import { $, h, plural, toBase64, urlOf } from "./dom.js";
import { desk, put, say, wish } from "./form.js";
import { all, file } from "./history.js";

const PAINT = [230, 90, 30]; // RGB of what is to be made anew
const USUAL = 0.6, FACTOR = 2, CHOICES = 40; // strength without a mask; of enlarging; pictures to morph between

export const board = new Board("edit");
let source = null; // {bytes, bitmap, name}: what was given
let given = null; // {canvas, bytes, holes}: the same in the pixels of the model, as it is sent
let mask = null, erase = false, size = 3, last = null, cursor = null, touched = false;
let extra = {}; // settings of an edit without a field
let ends = [null, null], between = []; // entries: where a morph begins and ends, and all of it

const task = () => $("task").value;
export const ready = () => given !== null;
const pen = (canvas) => canvas.getContext("2d", { willReadFrequently: true });
const blank = ({ width, height }) => pen(h("canvas", { width, height }));
const pixels = (context) => context.getImageData(0, 0, context.canvas.width, context.canvas.height);

export function build() {
  $("edit").append(board.root);
  $("task").onchange = () => {
    extra = {};
    refit();
  };
  $("file").onchange = () => $("file").files[0] && open($("file").files[0]).catch((error) => say(error.message, true));
  $("size").oninput = () => resize(Number($("size").value));
  $("strength").oninput = () => ((touched = true), named());
  $("share").oninput = () => ($("between").src = urlOf(between[$("share").value]));
  $("erase").onclick = toggle;
  $("undo").onclick = undo;
  $("clear").onclick = () => {
    mask.begin();
    mask.white.fill(0);
    draw();
  };
  const canvas = $("canvas");
  const brush = (event) => {
    const box = canvas.getBoundingClientRect();
    paint({ x: ((event.clientX - box.left) / box.width) * mask.width, y: ((event.clientY - box.top) / box.height) * mask.height });
  };
  canvas.onpointerdown = (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    mask.begin();
    brush(event);
  };
  canvas.onpointermove = (event) => last && brush(event);
  canvas.onpointerup = canvas.onpointercancel = () => (last = null);
  canvas.onkeydown = move;
  canvas.onblur = () => ((cursor = null), draw());
  addEventListener("model", refit);
  addEventListener("history", () => !$("edit").hidden && task() === "morph" && choices());
}

/** A stroke from where the brush was to a place, in pixels of the picture. */
function paint(to) {
  mask.stroke(last ?? to, to, size, erase ? 0 : 1);
  last = to;
  draw();
}

/** The brush without a mouse. */
function move(event) {
  const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!by && event.key !== " ") return;
  event.preventDefault();
  cursor ??= { x: Math.floor(mask.width / 2) + 0.5, y: Math.floor(mask.height / 2) + 0.5 };
  const inside = (at, most) => Math.min(Math.max(at, 0.5), most - 0.5);
  if (by) cursor = { x: inside(cursor.x + by[0], mask.width), y: inside(cursor.y + by[1], mask.height) };
  else {
    mask.begin();
    paint(cursor);
    last = null;
  }
  draw();
}

/** A letter's key; false where it means nothing. */
export function key(letter) {
  const act = { "[": () => resize(size - 1), "]": () => resize(size + 1), x: toggle, z: undo }[letter];
  act?.();
  return act !== undefined;
}

function resize(to) {
  size = Math.min(Math.max(to, 1), Number($("size").max));
  $("size").value = size;
  $("size-name").textContent = `Brush, ${plural(size, "pixel")}`;
}

function toggle() {
  erase = !erase;
  $("erase").ariaPressed = erase;
}

function undo() {
  mask?.undo();
  draw();
}

/** A file or a Blob, as it was given. more: `extra` of an edit that returns. Throws an Error in words. */
export async function open(blob, name = blob.name, more = {}) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("The browser cannot open this file as a picture.");
  }
  source = { bytes: new Uint8Array(await blob.arrayBuffer()), bitmap, name };
  extra = more;
  await refit();
}

/** The side of the pictures that the task takes: [width, height]. */
function taken() {
  const factor = task() === "enlarge" ? desk.model.enlarges ?? extra.factor ?? FACTOR : 1;
  return desk.model.shape.slice(-2).reverse().map((side) => Math.max(1, Math.round(side / factor)));
}

/** The source in the model's own pixels: its largest centred box, as the server would take it, resized only where it must be. */
async function refit() {
  const { kind } = desk.model;
  allow();
  const [width, height] = source && kind !== "points" ? taken() : [];
  if (!width) given = mask = null;
  else if (given?.source !== source || given.canvas.width !== width || given.canvas.height !== height || given.kind !== kind) {
    const { bitmap, bytes } = source, context = blank({ width, height }), { canvas } = context;
    const scale = Math.min(bitmap.width / width, bitmap.height / height), [w, k] = [width * scale, height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - k) / 2, w, k, 0, 0, width, height);
    const holes = pixels(context).data.some((value, i) => i % 4 === 3 && value === 0);
    const resized = kind !== "clips" && (bitmap.width !== width || bitmap.height !== height);
    given = { canvas, source, kind, holes, resized, bytes: resized ? await bytesIn(canvas) : bytes };
    mask = new Mask(width, height);
    cursor = null;
    touched = false;
    $("size").max = Math.max(width, height);
    resize(size);
  }
  show();
}

const bytesIn = (canvas) =>
  new Promise((resolve) => canvas.toBlob(async (blob) => resolve(new Uint8Array(await blob.arrayBuffer())), "image/png"));

/** The picture under its mask. */
function draw() {
  if (!given) return;
  const canvas = $("canvas"), context = pen(canvas), { width, height } = given.canvas;
  Object.assign(canvas, { width, height });
  context.drawImage(given.canvas, 0, 0);
  const image = pixels(context);
  mask.white.forEach((one, i) => {
    if (!one && image.data[4 * i + 3]) return;
    PAINT.forEach((value, c) => (image.data[4 * i + c] = 0.35 * image.data[4 * i + c] + 0.65 * value));
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  context.fillStyle = "#00a0ff";
  if (cursor) context.fillRect(Math.floor(cursor.x), Math.floor(cursor.y), 1, 1);
  if (!touched) $("strength").value = mask.empty ? USUAL : 1;
  named();
}

const named = () => ($("strength-name").textContent = `Strength ${Number($("strength").value).toFixed(2)}; 0 keeps all, 1 nothing`);

/** The tasks that the model has; one of these is chosen. */
function allow() {
  const { kind, shape, enlarges } = desk.model, pictures = kind === "pictures", field = $("task");
  const there = enlarges ? [false, true, false, false] : [kind !== "points", pictures, pictures && shape[0] === 3, true];
  [...field.options].forEach((option, i) => (option.disabled = !there[i]));
  if (kind !== "points" && !there[field.selectedIndex]) field.selectedIndex = there.indexOf(true);
}

/** What the task needs. */
export function show() {
  const { model } = desk;
  if (!model) return;
  const morph = task() === "morph", { width, height } = given?.canvas ?? {};
  $("pick").hidden = $("given").hidden = morph;
  $("easel").hidden = morph || !given;
  $("morphs").hidden = !morph;
  $("seed-field").hidden = $("fresh-field").hidden = morph;
  $("tools").hidden = task() !== "edit" || model.kind !== "pictures";
  $("strength-field").hidden = task() !== "edit" || (given?.holes && mask.empty);
  const what = given?.resized ? `, made ${width}×${height}` : given?.holes ? "; what is transparent is made anew" : "";
  $("given").textContent = given ? `${source.name ?? "picture"}${what}` : model.kind !== "points" ? "or drop or paste one" : "This model makes points, not pictures.";
  draw();
  if (morph) choices();
}

/** Recent pictures of this model, of which a morph begins at one and ends at another. */
async function choices() {
  const { step, weights } = desk.model;
  const plain = ({ settings: one }) => one && !one.task && one.n === 1 && one.step === step && one.weights === weights;
  const entries = (await all()).filter(plain).slice(0, CHOICES);
  $("ends").replaceChildren(...entries.map((entry) => {
    const said = ["begin", "end"][ends.findIndex((one) => one?.key === entry.key)] ?? "";
    const { seed, label } = entry.settings, name = `seed ${seed}${label ? `, class ${label}` : ""}`;
    const press = () => {
      ends = said ? ends.map((one) => (one?.key === entry.key ? null : one)) : ends[0] ? [ends[0], entry] : [entry, ends[1]];
      choices();
    };
    return h("button", { className: "tile", ariaPressed: said !== "", ariaLabel: `${said} ${name}`, title: name, onclick: press },
      h("img", { src: urlOf(entry), alt: "" }), h("span", { textContent: said }));
  }));
  if (!entries.length) $("ends").textContent = `Make some pictures with ${desk.model.name} first.`;
}

/** The request of an edit with settings (as of `wish`): {path, body, files}. Throws an Error in words. */
export async function request({ strength, ...settings }) {
  if (!given) throw new Error("Choose a picture first, or drop or paste one.");
  const body = { ...settings, task: task() === "morph" ? "edit" : task(), image: toBase64(given.bytes) }, files = { picture: given.bytes };
  const edits = body.task === "edit", plain = mask.empty;
  if (edits && !plain) body.mask = toBase64((files.mask = await maskBytes()));
  if (edits && !(plain && given.holes)) body.strength = strength ?? Number($("strength").value);
  if (body.task === "enlarge" && !desk.model.enlarges) body.factor = FACTOR;
  if (!(edits && plain && !given.holes)) Object.assign(body, extra);
  return { path: "v1/jobs/edits", body, files };
}

function maskBytes() {
  const context = blank(mask), image = pixels(context);
  mask.white.forEach((one, i) => image.data.set([255 * one, 255 * one, 255 * one, 255], 4 * i));
  context.putImageData(image, 0, 0);
  return bytesIn(context.canvas);
}

export async function make() {
  if (task() === "morph") return morph();
  await board.make([await request(wish())]);
}

async function morph() {
  const [a, b] = ends.map((entry) => entry?.settings);
  if (!a || !b) throw new Error("Choose two pictures: the first and the last of the morph.");
  const { seed, class: _, prompt, ...settings } = wish(), body = { ...settings, task: "morph", seeds: [a.seed, b.seed], n: Math.max(settings.n, 2) };
  if (a.label && b.label) body.class = [a.label, b.label];
  if (a.prompt && b.prompt) body.prompt = [a.prompt, b.prompt];
  between = await board.make([{ path: "v1/jobs/edits", body }]);
  $("between-field").hidden = !between.length;
  if (!between.length) return;
  Object.assign($("share"), { max: between.length - 1, value: between.length >> 1 });
  $("share").oninput();
}

/** Puts an edit's task, files and strength back. Returns what is missing, in words, or "". */
export async function restore(settings) {
  $("task").value = settings.task;
  if (settings.task === "morph") {
    const entries = (await all()).filter(({ settings: one }) => one && !one.task && one.weights === settings.weights);
    ends = settings.seeds.map((seed) => entries.find(({ settings: one }) => `${one.seed}` === `${seed}`) ?? null);
    show();
    return ends.includes(null) ? "The pictures of its two seeds are not in the history: make them first." : "";
  }
  const [bytes, painted] = await Promise.all([file(settings.picture), file(settings.mask)]);
  source = given = null;
  if (!bytes) {
    await refit();
    return `The original picture is not in this browser (SHA-256 ${settings.picture?.slice(0, 12)}…): drop it here as well.`;
  }
  const more = ["returns", "feather", "grain", "factor"].filter((name) => settings[name] !== undefined);
  await open(new Blob([bytes]), "picture of the history", Object.fromEntries(more.map((name) => [name, settings[name]])));
  touched = settings.strength !== undefined;
  if (touched) $("strength").value = settings.strength;
  if (painted) await repaint(painted);
  draw();
  return settings.mask && !painted ? "Its mask is not in this browser: paint it again." : "";
}

/** A mask's file as it was painted. */
async function repaint(bytes) {
  const context = blank(mask);
  context.drawImage(await createImageBitmap(new Blob([bytes])), 0, 0);
  const { data } = pixels(context);
  mask.white = mask.white.map((_, i) => (data[4 * i] >= 128 ? 1 : 0));
}

/** Begins an edit of a picture of the history. */
export async function begin({ settings, bytes }) {
  $("task").value = "edit";
  if (settings) await put({ ...settings, n: Number($("n").value) || 1 });
  await open(new Blob([bytes]), settings ? `seed ${settings.seed}` : "picture of the history");
}
