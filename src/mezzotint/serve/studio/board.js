// A place where pictures come out of noise: one job, its progress, its pictures, and how they came.

import { Offline, bytesOf, cancel, follow, read, start } from "./api.js";
import { $, fromBase64, h, plural } from "./dom.js";
import { desk } from "./form.js";
import { entryOf, keep } from "./history.js";
import { line } from "./words.js";
import { look } from "./view.js";

const PREVIEWS = 24; // of a job, at most
const data = (png) => `data:image/png;base64,${png}`;
export const previewEvery = (steps) => Math.max(1, Math.ceil(steps / PREVIEWS));

export function secondsLeft(seconds) {
  const whole = Math.max(Math.round(seconds), 0);
  return whole < 1 ? "nearly done" : whole < 90 ? `${whole} s left` : `${Math.round(whole / 60)} min left`;
}

/** How far a job is, in words. since: its seconds when it was first seen at work. */
export function told({ state, step, steps, seconds, ahead, n }, since) {
  if (state === "queued") return ahead ? `Waiting: ${plural(ahead, "request")} came before.` : "Waiting for its turn.";
  if (state === "started" && !step) return `Making ${n > 1 ? n : "one"}, ${plural(steps, "step")}.`;
  const left = ((seconds - since.seconds) / Math.max(step - since.step, 1)) * (steps - step);
  return `Step ${step} of ${steps}, ${secondsLeft(left)}.`;
}

/** A picture that can be pressed. */
export function tile(n) {
  const image = h("img", { alt: "", hidden: true });
  return h("button", { type: "button", class: "tile", disabled: true, "aria-label": `picture ${n}, not there yet` }, image);
}

export function showIn(button, source) {
  const image = button.firstElementChild;
  image.src = source;
  image.hidden = false;
}

/** A finished picture in its tile. entries: among which the arrows of a keyboard go on. */
export function finish(button, entries, i) {
  const entry = entries[i];
  button.disabled = false;
  button.setAttribute("aria-label", entry.settings ? line(entry.settings) : "picture");
  button.title = button.getAttribute("aria-label");
  button.onclick = () => look(entries, i);
}

export class Board {
  /** view: its name in the address. */
  constructor(view) {
    this.view = view;
    this.control = null;
    this.bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "progress" });
    this.said = h("p", { role: "status", class: "said" });
    this.tiles = h("div", { class: "tiles" });
    this.sheet = h("button", { type: "button", class: "small", hidden: true, textContent: "Download all as one PNG" });
    this.way = h("div", { class: "way", tabIndex: 0, role: "group", "aria-label": "from noise to picture" });
    this.which = h("p", { class: "soft hint" });
    this.ways = h("details", { hidden: true }, h("summary", { textContent: "How it came out of noise" }), this.which, this.way);
    this.root = h("div", { class: "board" }, this.bar, this.said, this.tiles, this.sheet, this.ways);
    this.ways.ontoggle = () => this.drawWay();
  }

  get busy() {
    return this.control !== null;
  }

  say(text, bad = false) {
    this.said.textContent = text;
    this.said.classList.toggle("bad", bad);
  }

  /** Starts a job and follows it. Returns its entries of the history, [] where there are none. */
  make(path, body) {
    return this.run(async (signal) => {
      this.say("Asking the server.");
      const state = await start(path, body, { signal, said: (text) => this.say(text) });
      return state.id;
    });
  }

  /** Goes on with a job that somebody started. */
  attach(id) {
    return this.run(async () => id);
  }

  async run(begin) {
    this.stop();
    const control = (this.control = new AbortController());
    this.id = null;
    this.sheet.hidden = true;
    dispatchEvent(new Event("busy"));
    try {
      this.id = await begin(control.signal);
      if (control.signal.aborted) return [];
      history.replaceState(null, "", `#${this.view}?job=${this.id}`);
      return await this.followed(control);
    } catch (error) {
      if (control !== this.control) return [];
      if (error.name === "AbortError") this.say("Cancelled.");
      else this.say(error.message, true);
      return [];
    } finally {
      if (control === this.control) this.control = null;
      this.bar.hidden = true;
      dispatchEvent(new Event("busy"));
    }
  }

  async followed(control) {
    let since = null, entries = [];
    this.steps = [];
    const ended = async (name, state) => {
      if (name === "done") entries = await this.done(state, control);
      else if (name === "gone") this.say("This job is over, and the server keeps results for a while only. What came of it is in the history.", true);
      else if (name === "failed") this.say(`It failed: ${state.detail}.`, true);
      else if (name === "cancelled") this.say("Cancelled.");
    };
    await follow([this.id], async (name, state) => {
      if (control !== this.control) return;
      if (state.n && this.n !== this.id) this.prepare(state);
      if (state.state === "started") since ??= { seconds: state.step ? 0 : state.seconds, step: 0 };
      if (["queued", "started", "progress"].includes(name)) {
        this.say(told(state, since));
        this.bar.value = state.step / state.steps;
        if (state.previews) this.preview(state);
      } else await ended(name, state);
    }, {
      signal: control.signal,
      lost: (gone) => gone && this.say("The connection is lost. The job goes on at the server; trying to reach it."),
    });
    return entries;
  }

  /** Empty tiles for a job. */
  prepare({ n, model }) {
    this.n = this.id;
    const { kind, shape } = desk.models.concat(desk.model).find(({ name }) => name === model) ?? desk.model;
    const count = kind === "points" ? 1 : n;
    this.tiles.replaceChildren(...Array.from({ length: count }, (_, i) => tile(i + 1)));
    this.tiles.classList.toggle("one", count === 1);
    this.tiles.style.setProperty("--aspect", kind === "points" ? "1" : `${shape.at(-1)} / ${shape.at(-2)}`);
    this.bar.hidden = false;
    this.bar.value = 0;
    this.ways.hidden = true;
    this.chosen = 0;
  }

  preview({ previews, noisy, step, steps }) {
    previews.forEach((png, i) => this.tiles.children[i] && showIn(this.tiles.children[i], data(png)));
    if (this.steps.at(-1)?.step !== step) this.steps.push({ step, steps, previews, noisy });
  }

  async done(state, control) {
    const { kind } = desk.models.concat(desk.model).find(({ name }) => name === state.model) ?? desk.model;
    let pictures;
    if (kind === "points") pictures = [await bytesOf(`v1/jobs/${state.id}/result`)];
    else pictures = (await read(`v1/jobs/${state.id}/result?format=json`)).images.map(fromBase64);
    const now = Date.now();
    const entries = pictures.map((bytes, i) => entryOf(bytes, `${state.id}/${i}`, now + (pictures.length - i) / 1000));
    if (control === this.control) {
      if (this.n !== this.id) this.prepare(state);
      const urls = entries.map(({ bytes }) => URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
      this.urls?.forEach((url) => URL.revokeObjectURL(url));
      this.urls = urls;
      [...this.tiles.children].forEach((button, i) => {
        showIn(button, urls[i]);
        finish(button, entries, i);
        button.addEventListener("focus", () => this.pick(i));
      });
      const last = state.seed + (typeof state.seed === "bigint" ? BigInt(state.n) : state.n) - (typeof state.seed === "bigint" ? 1n : 1);
      const seeds = entries[0]?.settings?.seeds ? "" : `, seed ${state.seed}${state.n > 1 ? ` to ${last}` : ""}`;
      const note = state.note ? ` ${state.note[0].toUpperCase()}${state.note.slice(1)}.` : "";
      this.say(`Done in ${state.seconds.toFixed(1)} s: ${state.model}, ${plural(state.steps, "step")}${seeds}.${note}`);
      this.ways.hidden = this.steps.length < 2;
      this.drawWay();
      this.sheet.hidden = pictures.length < 2;
      this.sheet.onclick = () => this.saveSheet(state);
    }
    await keep(entries).catch((error) => this.say(`The history of this browser cannot be written (${error.message}); download what you want to keep.`, true));
    return entries;
  }

  async saveSheet(state) {
    const { save } = await import("./dom.js");
    try {
      save(await bytesOf(`v1/jobs/${state.id}/result`), `${state.model}-${state.seed}.png`);
    } catch (error) {
      this.say(error instanceof Offline ? error.message : "The server has forgotten this job; download the pictures one by one.", true);
    }
  }

  pick(i) {
    this.chosen = i;
    this.drawWay();
  }

  /** What the network saw and what it believed after each step, of one picture. */
  drawWay() {
    if (!this.ways.open || this.ways.hidden) return;
    this.which.textContent = `Picture ${this.chosen + 1}. Above the noisy picture after each step, below what the network believes it will be.`;
    const frame = (png, what, step) => h("img", { src: data(png), alt: `${what}, step ${step}` });
    this.way.replaceChildren(...this.steps.map(({ step, previews, noisy }) =>
      h("figure", {}, frame(noisy[this.chosen] ?? noisy[0], "noisy", step), frame(previews[this.chosen] ?? previews[0], "belief", step), h("figcaption", { textContent: step })),
    ));
  }

  /** Lets go of the job; with `cancelled`, the server does, too. */
  stop(cancelled = false) {
    if (!this.control) return;
    if (cancelled && this.id) cancel(this.id);
    if (cancelled) this.say("Cancelled.");
    this.control.abort();
    this.control = null;
  }
}
