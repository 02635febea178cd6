// The page: its views, what their main button does, keys, and pictures that are dropped or pasted.

import { AGAIN, ask } from "./api.js";
import { Board } from "./board.js";
import { $, h, off, pause, typing } from "./dom.js";
import * as edit from "./edit.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as grid from "./grid.js";
import { settingsOf } from "./png.js";
import * as view from "./view.js";
import * as watch from "./watch.js";

const VIEWS = ["make", "grid", "edit", "history", "watch"], MAKING = VIEWS.slice(0, 3);
const boards = { make: new Board("make"), edit: edit.board, grid: grid.board };
let opened = null; // the bytes of a picture whose settings were put back, to compare with what they make

const current = () => VIEWS.find((name) => location.hash.slice(1).split("?")[0] === name) ?? "make";
const busy = () => ($("stop").disabled = !boards[current()]?.control);
const caught = (promise) => promise.catch((error) => form.say(error.message, true));

function route() {
  const name = current();
  for (const each of VIEWS) $(each).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.hash.startsWith(`#${name}`) ? "page" : null;
  $("settings").hidden = !MAKING.includes(name);
  $("n-field").hidden = name === "grid";
  $("seed-field").hidden = $("fresh-field").hidden = false;
  if (name === "history") gallery.draw();
  if (name === "grid") grid.axes();
  if (name === "edit") edit.show();
  watch.show(name === "watch");
  busy();
}

async function go() {
  if (!form.desk.model) return;
  form.say("");
  if ($("fresh").checked) form.roll();
  form.remember();
  if (current() === "edit") await edit.make();
  else if (form.desk.model.enlarges) throw new Error("This model makes pictures larger: give it one under Edit.");
  else if (current() === "grid") await grid.make();
  else compare(await boards.make.make([{ path: "v1/jobs", body: form.wish() }]));
}

/** Whether a picture whose settings were put back was made again, to the byte. */
function compare(entries) {
  if (!opened || entries.length !== 1) return;
  form.say(`${entries[0].bytes.join() === opened.join() ? "The same" : "Not the same"} file as the one that you opened, byte for byte.`);
  opened = null;
}

/** A file that was dropped, pasted or picked. */
async function take(file) {
  const bytes = new Uint8Array(await file.arrayBuffer()), settings = settingsOf(bytes);
  if (current() === "edit" || !settings) {
    if (!file.type.startsWith("image/")) throw new Error("This file is not a picture.");
    location.hash = "#edit";
    await edit.open(file);
  } else if (!settings.sampler) throw new Error("The settings of this picture are not enough to make it again.");
  else {
    await use({ settings });
    opened = settings.n === 1 ? bytes : null;
  }
}

async function use({ settings }) {
  const warning = await form.put(settings);
  location.hash = settings.task ? "#edit" : "#make";
  const missing = settings.task ? await edit.restore(settings) : "";
  form.say(`${warning} ${missing}`.trim() || "Its settings are back: press Make to make it again.", Boolean(warning || missing));
}

function keys(event) {
  const key = event.key.toLowerCase(), { target } = event;
  if (key === "enter" && event.ctrlKey && target.id === "prompt") caught(go());
  if (off(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (key === "escape" && boards[current()]?.control) boards[current()].stop(true);
  else if (typing(target)) return;
  else if (key === "r" && MAKING.includes(current())) {
    form.roll();
    caught(go());
  } else if (!(current() === "edit" && edit.key(key))) return;
  event.preventDefault();
}

async function noising() {
  const [, words, place] = $("noising").children, { name } = form.desk.model;
  if (!$("noising").open) return;
  words.textContent = "Examples, or the model's own pictures, with more and more noise: u is the time, 0 to 1.";
  place.textContent = "Asking the server.";
  const blob = await (await ask(`v1/models/${encodeURIComponent(name)}/noising`)).blob();
  place.replaceChildren(h("img", { src: URL.createObjectURL(blob), alt: "a row for each example, noisier from left to right" }));
}

function listen() {
  addEventListener("hashchange", route);
  addEventListener("busy", busy);
  addEventListener("use", ({ detail }) => caught(use(detail)));
  addEventListener("edit", ({ detail }) => {
    location.hash = "#edit";
    caught(edit.begin(detail));
  });
  addEventListener("model", () => ((opened = null), ($("noising").open = false)));
  addEventListener("keydown", keys);
  addEventListener("dragover", (event) => event.preventDefault());
  for (const [name, where] of [["drop", "dataTransfer"], ["paste", "clipboardData"]]) {
    addEventListener(name, (event) => {
      const [file] = event[where]?.files ?? [];
      if (file || name === "drop") event.preventDefault();
      if (file) caught(take(file));
    });
  }
  $("open").onchange = () => $("open").files[0] && caught(take($("open").files[0]));
  $("settings").onsubmit = (event) => (event.preventDefault(), caught(go()));
  $("stop").onclick = () => boards[current()].stop(true);
  $("noising").ontoggle = () => caught(noising());
  $("keys").checked = localStorage.keys !== "false";
  $("keys").onchange = () => (localStorage.keys = $("keys").checked);
}

for (const part of [gallery, grid, edit, watch, view]) part.build();
$("make").prepend(boards.make.root);
listen();
const job = new URLSearchParams(location.hash.split("?")[1]).get("job");
route();
for (;;) {
  try {
    await form.load();
    break;
  } catch (error) {
    $("banner").textContent = `${error.message} Trying again.`;
    await pause(AGAIN);
  }
}
$("banner").textContent = "";
route();
if (job) boards[current()]?.attach(job.split("."));
else boards.make.say("Press Make: the pictures appear here, step by step.");
document.body.dataset.ready = "yes";
