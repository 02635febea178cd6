// The page: its views, what their main button does, keys, and pictures that are dropped or pasted.

import { Refused, ask, BASE } from "./api.js";
import { Board } from "./board.js";
import { $, h, pause, typing } from "./dom.js";
import * as edit from "./edit.js";
import * as form from "./form.js";
import * as gallery from "./gallery.js";
import * as grid from "./grid.js";
import { settingsOf } from "./png.js";
import * as view from "./view.js";
import * as watch from "./watch.js";

const VIEWS = ["make", "grid", "edit", "history", "watch"];
const LABELS = { make: "Make", grid: "Make the grid", edit: "Make" };
let dropped = null; // {bytes}: a picture whose settings were put back, to compare with what they make

const current = () => location.hash.slice(1).split("?")[0] || "make";
const jobOf = () => new URLSearchParams(location.hash.split("?")[1]).get("job");
const boards = { make: new Board("make") };
const noising = h("details", { id: "noising" }, h("summary", { textContent: "What the network learns from" }), h("p", { class: "soft hint" }), h("div", { class: "scroll", tabIndex: 0, role: "group", "aria-label": "pictures with more and more noise" }));

function route() {
  const name = VIEWS.includes(current()) ? current() : "make", asks = name in LABELS;
  for (const each of VIEWS) $(each).hidden = each !== name;
  for (const link of document.querySelectorAll("nav a")) link.hash === `#${name}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  document.body.dataset.view = name;
  $("settings").hidden = !asks;
  $("go").textContent = LABELS[name] ?? "Make";
  $("n-field").hidden = name === "grid";
  if (name === "history") gallery.draw();
  if (name === "grid") grid.axes();
  if (name === "edit") edit.show();
  watch.show(name === "watch").catch(() => {});
  busy();
}

const busyNow = () => (current() === "grid" ? grid.busy() : boards[current()]?.busy ?? false);
const busy = () => ($("stop").disabled = !busyNow());

async function go() {
  form.say("");
  if ($("fresh").checked && !(current() === "edit" && $("task").value === "morph")) form.roll();
  try {
    form.remember();
    if (current() === "grid") await grid.make();
    else if (current() === "edit") await edit.make();
    else if (form.desk.model.enlarges) throw new Error("This model makes pictures larger: give it one under Edit.");
    else {
      const body = form.wish();
      const every = Math.max(1, Math.ceil(body.steps / 24));
      compare(await boards.make.make("v1/jobs", { ...body, preview_every: every }));
    }
  } catch (error) {
    if (error.name !== "AbortError") form.say(error.message, true);
  }
}

/** Whether a picture whose settings were put back was made again, to the byte. */
function compare(entries) {
  if (!dropped || entries.length !== 1) return;
  const { bytes } = entries[0], same = bytes.length === dropped.length && bytes.every((byte, i) => byte === dropped[i]);
  form.say(same ? "The same file as the one that you opened, to the byte." : "Not the same file as the one that you opened.");
  dropped = null;
}

function stop() {
  if (current() === "grid") grid.stop(true);
  else boards[current()]?.stop(true);
  busy();
}

/** A file that was dropped, pasted or picked. */
async function take(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let settings = null;
  try {
    settings = settingsOf(bytes);
  } catch (error) {
    form.say(error.message, true);
    return;
  }
  if (current() === "edit" || (!settings && file.type.startsWith("image/"))) {
    location.hash = "#edit";
    await edit.open(file);
  } else if (settings?.sampler) {
    await use({ settings, bytes });
    dropped = settings.n === 1 ? bytes : null;
  } else form.say(settings ? "This picture says how it was made, but not by settings that make it again." : "This is no picture.", true);
}

async function use({ settings, bytes }) {
  const task = settings.task, warning = await form.put(settings);
  location.hash = task ? "#edit" : "#make";
  const missing = task ? await edit.restore(settings) : "";
  form.say([warning, missing].filter(Boolean).join(" ") || "Its settings are back: Make makes it again.", Boolean(warning || missing));
}

const caught = (promise) => promise.catch((error) => form.say(error.message, true));

function listen() {
  addEventListener("hashchange", route);
  addEventListener("busy", busy);
  addEventListener("use", ({ detail }) => caught(use(detail)));
  addEventListener("edit", ({ detail }) => {
    location.hash = "#edit";
    caught(edit.begin(detail));
  });
  addEventListener("model", () => {
    noising.open = false;
    dropped = null;
  });
  $("settings").onsubmit = (event) => {
    event.preventDefault();
    go();
  };
  $("stop").onclick = stop;
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) caught(take(file));
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) caught(take(file));
  });
  $("open").onchange = () => $("open").files[0] && caught(take($("open").files[0]));
  addEventListener("keydown", keys);
  noising.ontoggle = () => noising.open && caught(drawNoising());
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) {
    if (event.key === "Enter" && event.ctrlKey && event.target.id === "prompt") go();
    return;
  }
  const key = event.key.toLowerCase(), tiles = [...(event.target.closest?.(".tiles, .cells")?.querySelectorAll(".tile") ?? [])];
  if (event.key === "Escape" && busyNow()) stop();
  else if (typing(event.target)) return;
  else if (tiles.length && /^Arrow(Left|Right)$/.test(event.key)) tiles[tiles.indexOf(event.target) + (event.key === "ArrowLeft" ? -1 : 1)]?.focus();
  else if (/^[1-5]$/.test(key)) location.hash = `#${VIEWS[key - 1]}`;
  else if (key === "r" && current() in LABELS) {
    form.roll();
    go();
  } else if (!(current() === "edit" && edit.key(key))) return;
  event.preventDefault();
}

async function drawNoising() {
  const { name, data } = form.desk.model, place = noising.lastElementChild;
  noising.children[1].textContent = `Examples of ${data}, or where they are not at hand the model's own, with more and more noise, at places u of its schedule.`;
  place.textContent = "Asking the server.";
  const blob = await (await ask(`v1/models/${encodeURIComponent(name)}/noising`)).blob();
  place.replaceChildren(h("img", { src: URL.createObjectURL(blob), alt: "each row an example, with more noise from left to right" }));
}

/** Waits for the server where it is not there. */
async function begin() {
  for (;;) {
    try {
      await form.load();
      $("banner").hidden = true;
      return;
    } catch (error) {
      $("banner").textContent = error instanceof Refused ? `The server refuses: ${error.message}.` : `${error.message} Trying again.`;
      $("banner").hidden = false;
      await pause(2000);
    }
  }
}

gallery.build();
grid.build();
edit.build();
boards.edit = edit.board;
watch.build();
view.keys();
$("make").append(boards.make.root, noising);
listen();
const job = jobOf();
route();
await begin();
route();
document.body.dataset.ready = "yes";
if (current() === "grid" && job) grid.attach();
else if (job) boards[current()]?.attach(job);
else if (current() === "make") boards.make.say(`Press Make: the pictures come out of noise here. For programs: ${new URL("docs", BASE)}`);
