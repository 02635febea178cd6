// Changing a picture: as a whole, where a brush went, larger, coloured; and the way between two.

import { Board, previewEvery } from "./board.js";
import { Mask } from "./brush.js";
import { $, h } from "./dom.js";
import { desk, put, say, wish } from "./form.js";
import { all, file, keepFile } from "./history.js";
import { isPng, settingsOf } from "./png.js";

export let board;
let source = null; // {bytes, bitmap, name}: what was given
let given = null; // {canvas, bytes, holes}: the same in the pixels of the model, as it is sent
let mask = null, erase = false, size = 3, last = null, cursor = null, touched = false;
let ends = [null, null]; // entries of a morph

const TASKS = { edit: "Change or repaint", enlarge: "Enlarge", colour: "Colour", morph: "Morph" };
const task = () => $("task").value;
export const ready = () => source !== null && desk.model.kind !== "points";

export function build() {
  board = new Board("edit");
  const tool = (id, text, title, act) => h("button", { type: "button", id, textContent: text, title, onclick: act });
  $("edit").append(
    h("div", { class: "row" },
      h("label", {}, "Task ", h("select", { id: "task", onchange: show }, ...Object.entries(TASKS).map(([key, name]) => new Option(name, key)))),
      h("label", { class: "file", id: "pick" }, "Choose a picture", h("input", { id: "file", type: "file", accept: "image/*" })),
      h("span", { class: "soft", id: "given", textContent: "or drop or paste one" })),
    h("div", { id: "easel" },
      h("div", { class: "paper" }, h("canvas", { id: "canvas", tabIndex: 0, role: "img", "aria-label": "picture to edit; arrows move the brush, Space paints" })),
      h("div", { class: "tools" },
        h("div", { id: "brush-tools" },
          h("p", { class: "soft hint" }, "Paint over what is to be made anew. Unpainted, the whole picture is changed by the strength."),
          h("label", {}, h("span", { id: "size-name", textContent: "Brush, 3 pixels " }), h("input", { id: "size", type: "range", min: 1, max: 16, value: 3, title: "keys [ and ]" })),
          h("div", { class: "row" },
            h("button", { type: "button", id: "erase", "aria-pressed": "false", textContent: "Erase", title: "key X", onclick: toggle }),
            tool("undo", "Undo", "key Z", undo),
            tool("clear", "Clear", "", () => change(() => 0)),
            tool("invert", "Invert", "", () => change((white) => 1 - white)))),
        h("label", { id: "strength-field" }, h("span", { id: "strength-name" }), h("input", { id: "strength", type: "range", min: 0, max: 1, step: 0.01, value: 0.6 })),
        h("label", { id: "factor-field" }, "Factor ", h("input", { id: "factor", type: "number", min: 2, max: 8, value: 2 })))),
    h("div", { id: "morphs", hidden: true },
      h("p", { class: "soft" }, "Choose where it begins and where it ends, among pictures that this model made."),
      h("div", { id: "ends", class: "tiles small" }),
      h("label", { id: "share-field", hidden: true }, "From the one to the other ", h("input", { id: "share", type: "range", min: 0, max: 8, value: 0 })),
      h("div", { class: "paper" }, h("img", { id: "between", class: "large", alt: "", hidden: true }))),
    h("h2", { id: "results-title", textContent: "Results", hidden: true }),
    board.root);
  $("file").onchange = () => $("file").files[0] && open($("file").files[0]).catch((error) => say(error.message, true));
  $("size").oninput = () => resize(Number($("size").value));
  $("strength").oninput = () => {
    touched = true;
    named();
  };
  $("share").oninput = () => ($("between").src = board.urls[$("share").value]);
  const canvas = $("canvas");
  canvas.onpointerdown = (event) => {
    if (!mask || event.button) return;
    canvas.setPointerCapture(event.pointerId);
    mask.begin();
    last = at(event);
    mask.dot(last.x, last.y, size, erase ? 0 : 1);
    draw();
  };
  canvas.onpointermove = (event) => {
    if (!last) return;
    const to = at(event);
    mask.stroke(last, to, size, erase ? 0 : 1);
    last = to;
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    last = null;
    draw();
  };
  canvas.onkeydown = keys;
  canvas.onblur = () => ((cursor = null), draw());
  addEventListener("model", () => source && fit().then(show));
  addEventListener("history", () => !$("edit").hidden && task() === "morph" && choices());
  show();
}

/** A place on the canvas in pixels of the picture. */
function at(event) {
  const box = $("canvas").getBoundingClientRect();
  return { x: ((event.clientX - box.left) / box.width) * mask.width, y: ((event.clientY - box.top) / box.height) * mask.height };
}

function keys(event) {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }, by = moves[event.key];
  if (!mask || !(by || event.key === " ")) return;
  event.preventDefault();
  cursor ??= { x: Math.floor(mask.width / 2) + 0.5, y: Math.floor(mask.height / 2) + 0.5 };
  if (by) {
    cursor.x = Math.min(Math.max(cursor.x + by[0], 0.5), mask.width - 0.5);
    cursor.y = Math.min(Math.max(cursor.y + by[1], 0.5), mask.height - 0.5);
  } else {
    mask.begin();
    mask.dot(cursor.x, cursor.y, size, erase ? 0 : 1);
  }
  draw();
}

export function key(letter) {
  if (letter === "[") resize(size - 1);
  else if (letter === "]") resize(size + 1);
  else if (letter === "x") toggle();
  else if (letter === "z") undo();
  else return false;
  return true;
}

function resize(to) {
  size = Math.min(Math.max(to, 1), Number($("size").max));
  $("size").value = size;
  $("size-name").textContent = `Brush, ${size} ${size === 1 ? "pixel" : "pixels"} `;
}

function toggle() {
  erase = !erase;
  $("erase").setAttribute("aria-pressed", String(erase));
}

function undo() {
  mask?.undo();
  draw();
}

function change(each) {
  mask?.fill(each);
  draw();
}

/** A file or a Blob, as it was given. Throws an Error in words. */
export async function open(blob, name = blob.name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("This file is no picture that the browser can open.");
  }
  source = { bytes: new Uint8Array(await blob.arrayBuffer()), bitmap, name };
  await fit();
  show();
}

/** The source in the model's pixels: its largest centred box, as the server would take it, resized only where it must be. */
async function fit() {
  const { model } = desk;
  mask = given = null;
  if (model.kind === "points") return;
  let [height, width] = model.shape.slice(-2);
  const factor = task() === "enlarge" ? model.enlarges ?? Number($("factor").value) : 1;
  [height, width] = [Math.max(1, Math.round(height / factor)), Math.max(1, Math.round(width / factor))];
  const { bitmap, bytes } = source, canvas = h("canvas", { width, height }), pen = canvas.getContext("2d");
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const [w, k] = [width * scale, height * scale];
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - k) / 2, w, k, 0, 0, width, height);
  const alpha = pen.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 3);
  const same = (bitmap.width === width && bitmap.height === height) || model.kind === "clips";
  given = { canvas, bytes: same ? bytes : await bytesIn(canvas), holes: alpha.includes(0), resized: !same };
  mask = new Mask(width, height);
  $("size").max = Math.max(width, height);
  resize(Math.min(size, Math.max(width, height)));
  if (!touched) $("strength").value = 0.6;
}

const bytesIn = (canvas) =>
  new Promise((resolve) => canvas.toBlob(async (blob) => resolve(new Uint8Array(await blob.arrayBuffer())), "image/png"));

/** Draws the picture under its mask. */
function draw() {
  const canvas = $("canvas"), pen = canvas.getContext("2d");
  if (!given) return;
  const { width, height } = given.canvas;
  Object.assign(canvas, { width, height });
  pen.drawImage(given.canvas, 0, 0);
  const image = pen.getImageData(0, 0, width, height);
  mask.white.forEach((white, i) => {
    const faint = white || image.data[4 * i + 3] === 0;
    if (!faint) return;
    const tint = [230, 90, 30];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 0.35 * image.data[4 * i + c] + 0.65 * tint[c];
    image.data[4 * i + 3] = 255;
  });
  pen.putImageData(image, 0, 0);
  if (cursor) {
    pen.fillStyle = "#00a0ff";
    pen.fillRect(Math.floor(cursor.x), Math.floor(cursor.y), 1, 1);
  }
  if (!touched) $("strength").value = mask.empty ? 0.6 : 1;
  named();
}

function named() {
  const value = Number($("strength").value).toFixed(2);
  const what = value === "0.00" ? "nothing changes" : value === "1.00" ? (mask && !mask.empty ? "nothing of it is kept under the brush" : "nothing of it is kept") : "more changes more";
  $("strength-name").textContent = `Strength ${value}: ${what} `;
}

/** What the task needs. */
export function show() {
  const { model } = desk;
  if (!model) return;
  $("task").querySelector("[value=colour]").disabled = model.shape[0] !== 3 || model.kind !== "pictures";
  $("task").querySelector("[value=enlarge]").disabled = model.kind !== "pictures";
  const morph = task() === "morph", there = given !== null && !morph;
  $("pick").hidden = $("given").hidden = morph;
  $("easel").hidden = !there;
  $("morphs").hidden = !morph;
  $("brush-tools").hidden = task() !== "edit" || model.kind !== "pictures" || model.enlarges !== null;
  $("strength-field").hidden = task() !== "edit";
  $("factor-field").hidden = task() !== "enlarge" || model.enlarges !== null;
  $("factor").onchange = () => source && fit().then(show);
  if (model.kind === "points") $("given").textContent = "This model makes points, of which there is no picture to change.";
  else if (given) $("given").textContent = given.resized ? `${source.name ?? "picture"}, made ${given.canvas.width}×${given.canvas.height}` : source.name ?? "";
  else $("given").textContent = "or drop or paste one";
  if (there && expected() !== `${given.canvas.width}×${given.canvas.height}`) fit().then(show);
  else if (there) draw();
  if (morph) choices();
}

function expected() {
  const factor = task() === "enlarge" ? desk.model.enlarges ?? Number($("factor").value) : 1;
  const [height, width] = desk.model.shape.slice(-2).map((side) => Math.max(1, Math.round(side / factor)));
  return `${width}×${height}`;
}

/** Recent pictures of this model that a morph may begin or end at. */
async function choices() {
  const entries = (await all()).filter(({ settings }) => settings && !settings.task && settings.n === 1 && settings.model === desk.model.name.replace(/@.*/, "") && settings.step === desk.model.step).slice(0, 40);
  const mark = (entry) => ["begin", "end"][ends.findIndex((one) => one?.key === entry.key)] ?? "";
  $("ends").replaceChildren(...entries.map((entry) => {
    const image = h("img", { src: URL.createObjectURL(new Blob([entry.bytes], { type: "image/png" })), alt: "", onload: () => URL.revokeObjectURL(image.src) });
    const said = mark(entry), name = `seed ${entry.settings.seed}${entry.settings.label ? `, class ${entry.settings.label}` : ""}`;
    return h("button", { type: "button", class: "tile", "aria-pressed": String(said !== ""), "aria-label": `${said} ${name}`.trim(), title: name, onclick: () => {
      ends = said ? ends.map((one) => (one?.key === entry.key ? null : one)) : ends[0] === null ? [entry, ends[1]] : [ends[0], entry];
      choices();
    } }, image, h("span", { textContent: said }));
  }));
  if (!entries.length) $("ends").replaceChildren(h("p", { textContent: `Make some pictures with ${desk.model.name} first.` }));
}

/** The request of an edit with settings (as of `wish`): {path, body}. Throws an Error in words. */
export async function request(settings) {
  const { strength, ...rest } = settings, form = new FormData(), kind = task() === "morph" ? "edit" : task();
  if (!given) throw new Error("Choose a picture first, or drop or paste one.");
  const blob = (bytes) => new Blob([bytes], { type: isPng(bytes) ? "image/png" : "application/octet-stream" });
  form.append("task", kind);
  form.append("image", blob(given.bytes), "picture");
  await keepFile(given.bytes).catch(() => {});
  const masked = kind === "edit" && !mask.empty;
  if (masked) {
    const bytes = await maskBytes();
    form.append("mask", blob(bytes), "mask");
    await keepFile(bytes).catch(() => {});
  }
  if (kind === "edit" && (masked || !given.holes)) form.append("strength", strength ?? Number($("strength").value));
  if (kind === "enlarge" && desk.model.enlarges === null) form.append("factor", Number($("factor").value));
  for (const [name, value] of Object.entries(rest)) for (const each of [value].flat()) form.append(name, each);
  return { path: "v1/jobs/edits", body: form };
}

function maskBytes() {
  const canvas = h("canvas", { width: mask.width, height: mask.height }), pen = canvas.getContext("2d");
  const image = pen.createImageData(mask.width, mask.height);
  mask.white.forEach((white, i) => image.data.set([255 * white, 255 * white, 255 * white, 255], 4 * i));
  pen.putImageData(image, 0, 0);
  return bytesIn(canvas);
}

export async function make() {
  if (task() === "morph") return morph();
  const settings = wish(), { path, body } = await request({ ...settings, preview_every: previewEvery(settings.steps) });
  $("results-title").hidden = false;
  return board.make(path, body);
}

async function morph() {
  const [a, b] = ends.map((entry) => entry?.settings);
  if (!a || !b) throw new Error("Choose two pictures: where the morph begins, and where it ends.");
  const { n, steps, sampler, guidance } = wish(), body = { task: "morph", model: desk.model.name, seeds: [a.seed, b.seed], n: Math.max(n, 2), steps, sampler };
  if (desk.model.guidable) body.guidance = guidance;
  if (a.label && b.label) body.class = [a.label, b.label];
  if (typeof a.prompt === "string" && typeof b.prompt === "string") body.prompt = [a.prompt, b.prompt];
  $("results-title").hidden = false;
  const entries = await board.make("v1/jobs/edits", { ...body, preview_every: previewEvery(steps) });
  if (!entries.length) return entries;
  $("share-field").hidden = $("between").hidden = false;
  Object.assign($("share"), { max: entries.length - 1, value: Math.floor(entries.length / 2) });
  $("between").src = board.urls[$("share").value];
  $("between").alt = "picture between the two";
  return entries;
}

/** Puts an edit's task, files and strength back, from its settings. Returns what is missing, in words, or "". */
export async function restore(settings) {
  $("task").value = settings.task;
  if (settings.task === "morph") {
    const entries = await all();
    ends = settings.seeds.map((seed) => entries.find((entry) => entry.settings && !entry.settings.task && String(entry.settings.seed) === String(seed) && entry.settings.model === settings.model) ?? null);
    show();
    return ends.includes(null) ? "The pictures of its two seeds are not in the history: make them first, by their seeds." : "";
  }
  if (settings.factor) $("factor").value = settings.factor;
  const [bytes, white] = await Promise.all([settings.picture, settings.mask].map((digest) => digest && file(digest)));
  if (!bytes) {
    source = given = mask = null;
    show();
    return `The picture that it was made of is not in this browser (SHA-256 ${settings.picture?.slice(0, 12)}…): drop it here, too.`;
  }
  await open(new Blob([bytes]), "picture of the history");
  if (settings.strength !== undefined) {
    touched = true;
    $("strength").value = settings.strength;
  }
  if (settings.mask && !white) return "Its mask is not in this browser: paint it anew.";
  if (white) await paint(white);
  draw();
  return "";
}

/** A mask's file as it was painted. */
async function paint(bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes])), canvas = h("canvas", { width: mask.width, height: mask.height });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(bitmap, 0, 0, mask.width, mask.height);
  const { data } = pen.getImageData(0, 0, mask.width, mask.height);
  mask.white = mask.white.map((_, i) => (data[4 * i] >= 128 ? 1 : 0));
}

/** Begins an edit of a picture of the history. */
export async function begin(entry) {
  $("task").value = "edit";
  touched = false;
  if (entry.settings) await put({ ...entry.settings, n: Number($("n").value) || 1 });
  await open(new Blob([entry.bytes], { type: "image/png" }), entry.settings ? `seed ${entry.settings.seed}` : "picture of the history");
}

export const settingsIn = (bytes) => (isPng(bytes) ? settingsOf(bytes) : null);
