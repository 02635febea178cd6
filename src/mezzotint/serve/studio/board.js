// A place where pictures come out of noise: one job, its progress, its pictures, and how they came.

import { bytesOf, cancel, follow, OVER, read, start } from "./api.js";
import { fromBase64, h, plural, save, urlOf } from "./dom.js";
import { desk } from "./form.js";
import { entryOf, keep } from "./history.js";
import { look } from "./view.js";
import { line } from "./words.js";

const PREVIEWS = 24; // of a job, at most
export const LOST = "The connection is lost. The server goes on with it; trying to reach it.";
const FORGOTTEN = "This job is over, and the server keeps results for a while only. What came of it is in the history.";
const GONE = "The server has forgotten this job; download the pictures one by one.";

export const previewEvery = (steps) => Math.max(1, Math.ceil(steps / PREVIEWS));
export const aspectOf = ({ kind, shape }) => (kind === "points" ? "1" : `${shape.at(-1)} / ${shape.at(-2)}`);
const modelOf = ({ model }) => desk.models.find(({ name }) => name === model) ?? desk.model;

/** How far a job is, in words. since: {seconds, step} when it was first seen at work. */
export function told({ state, step, steps, seconds, ahead, n }, since) {
  if (state === "queued") return ahead ? `Waiting: ${plural(ahead, "request")} came before.` : "Waiting for its turn.";
  if (!step) return `Making ${n}, ${plural(steps, "step")}.`;
  const left = Math.round(((seconds - since.seconds) / Math.max(step - since.step, 1)) * (steps - step));
  return `Step ${step} of ${steps}, ${left < 1 ? "nearly done" : left < 90 ? `${left} s left` : `${Math.round(left / 60)} min left`}.`;
}

/** A picture that can be pressed, once it is there. */
export function tile(name) {
  return h("button", { type: "button", class: "tile", disabled: true, "aria-label": `${name}: not there yet` }, h("img", { alt: "", hidden: true }));
}

/** A PNG in base64, or an address, in a tile. */
export function showIn(button, png) {
  Object.assign(button.firstElementChild, { src: /^blob:/.test(png) ? png : `data:image/png;base64,${png}`, hidden: false });
}

/** A finished picture in its tile. entries: () -> those among which arrows go on. Returns its address. */
export function finish(button, entries, entry) {
  const url = urlOf(entry), name = entry.settings ? line(entry.settings) : "picture";
  showIn(button, url);
  Object.assign(button, { disabled: false, title: name, onclick: () => look(entries(), entries().indexOf(entry)) });
  button.setAttribute("aria-label", name);
  return url;
}

export class Board {
  /** view: its name in the address. */
  constructor(view) {
    this.view = view;
    this.control = this.id = null;
    this.bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "progress" });
    this.said = h("p", { role: "status", class: "said" });
    this.tiles = h("div", { class: "tiles" });
    this.sheet = h("button", { type: "button", class: "small", hidden: true, textContent: "Download all as one PNG" });
    this.which = h("p", { class: "soft" });
    this.way = h("div", { class: "way", tabIndex: 0, role: "group", "aria-label": "from noise to picture" });
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
    this.say("Asking the server.");
    return this.run(async (signal) => (await start(path, body, { signal, said: (text) => this.say(text) })).id);
  }

  /** Goes on with a job that was started before. */
  attach(id) {
    return this.run(() => id);
  }

  async run(begin) {
    this.stop();
    const control = (this.control = new AbortController()), { signal } = control;
    let entries = [];
    this.id = null;
    dispatchEvent(new Event("busy"));
    try {
      const id = await begin(signal);
      if (signal.aborted) return cancel(id), [];
      Object.assign(this, { id, since: null, steps: [], prepared: false });
      history.replaceState(null, "", `#${this.view}?job=${id}`);
      const lost = (gone) => gone && this.say(LOST);
      await follow([id], async (name, state) => {
        if (signal.aborted) return;
        if (name === "done") entries = await this.done(state);
        else if (name === "gone") this.say(FORGOTTEN, true);
        else if (name === "failed") this.say(`It failed: ${state.detail}.`, true);
        else if (name === "cancelled") this.say("Cancelled.");
        else this.goes(state);
      }, { signal, lost });
    } catch (error) {
      if (!signal.aborted) this.say(error.message, true);
    }
    if (control === this.control) this.stop();
    return entries;
  }

  goes(state) {
    if (!this.prepared) this.prepare(state);
    if (state.state === "started") this.since ??= { seconds: state.step ? 0 : state.seconds, step: 0 };
    this.say(told(state, this.since));
    this.bar.value = state.step / state.steps;
    state.previews?.forEach((png, i) => showIn(this.tiles.children[i], png));
    if (state.previews) this.steps.push(state);
  }

  /** Empty tiles for a job. */
  prepare(state) {
    const model = modelOf(state), count = model.kind === "points" ? 1 : state.n;
    this.tiles.replaceChildren(...Array.from({ length: count }, (_, i) => tile(`picture ${i + 1}`)));
    this.tiles.classList.toggle("one", count === 1);
    this.tiles.style.setProperty("--aspect", aspectOf(model));
    Object.assign(this.bar, { hidden: false, value: 0 });
    this.sheet.hidden = this.ways.hidden = true;
    this.prepared = true;
    this.chosen = 0;
  }

  async done(state) {
    const { id, n, seed, note, steps, seconds } = state;
    if (!this.prepared) this.prepare(state);
    const result = `v1/jobs/${id}/result`, points = modelOf(state).kind === "points";
    const pictures = points ? [await bytesOf(result)] : (await read(`${result}?format=json`)).images.map(fromBase64);
    const entries = pictures.map((bytes, i) => entryOf(bytes, `${id}/${i}`, Date.now() + (pictures.length - i) / 1000));
    this.urls = [...this.tiles.children].map((button, i) => {
      button.onfocus = () => ((this.chosen = i), this.drawWay());
      return finish(button, () => entries, entries[i]);
    });
    const seeds = entries[0].settings?.seeds ? "" : `, seed ${seed}${n > 1 ? ` to ${BigInt(seed) + BigInt(n - 1)}` : ""}`;
    this.say(`Done in ${seconds.toFixed(1)} s: ${state.model}, ${plural(steps, "step")}${seeds}.${note ? ` Note: ${note}.` : ""}`);
    this.ways.hidden = this.steps.length < 2;
    this.drawWay();
    this.sheet.hidden = pictures.length < 2;
    this.sheet.onclick = async () => {
      const bytes = await bytesOf(result).catch(() => this.say(GONE, true));
      if (bytes) save(bytes, `${state.model}-${seed}.png`);
    };
    await keep(entries).catch((error) => this.say(`This browser keeps no history (${error.message}): download what you want to keep.`, true));
    return entries;
  }

  /** What the network saw and what it believed after each step, of one picture. */
  drawWay() {
    if (!this.ways.open || this.ways.hidden) return;
    this.which.textContent = `Picture ${this.chosen + 1}: above, the noisy picture after each step; below, what the network believes it will be.`;
    this.way.replaceChildren(...this.steps.map(({ step, previews, noisy }) => {
      const frame = (pngs, what) => h("img", { src: `data:image/png;base64,${pngs[this.chosen]}`, alt: `${what} after step ${step}` });
      return h("figure", {}, frame(noisy, "noisy"), frame(previews, "belief"), h("figcaption", { textContent: step }));
    }));
  }

  /** Lets go of the job; where it is cancelled, the server does, too. */
  stop(cancelled = false) {
    if (!this.control) return;
    if (cancelled) {
      if (this.id) cancel(this.id);
      this.say("Cancelled.");
    }
    this.control.abort();
    this.control = null;
    this.bar.hidden = true;
    dispatchEvent(new Event("busy"));
  }
}
