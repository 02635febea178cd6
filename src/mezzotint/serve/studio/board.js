// A place where pictures come out of noise: jobs, their progress, their pictures, and how they came.

import { ask, cancel, follow, OVER, start } from "./api.js";
import { fromBase64, h, plural, save, tell, urlOf } from "./dom.js";
import { desk } from "./form.js";
import { entryOf, keep } from "./history.js";
import { look } from "./view.js";
import { named } from "./words.js";

const WAVE = 24; // jobs under way at once, fewer than a client may have
const FAULTS = { gone: "the server keeps results only for a while; look in the history", cancelled: "cancelled" };

const modelOf = ({ model }) => desk.models.find(({ name }) => name === model) ?? desk.model;

/** How far a job is, in words. since: {seconds, step} when it was first seen at work. */
export function told({ state, step, steps, seconds, ahead, n }, since) {
  if (state === "queued") return ahead ? `Waiting: ${plural(ahead, "request")} ahead.` : "Waiting for its turn.";
  if (!step) return `Making ${n}, ${plural(steps, "step")}.`;
  const left = Math.round(((seconds - since.seconds) / Math.max(step - since.step, 1)) * (steps - step));
  return `Step ${step} of ${steps}, ${left < 1 ? "nearly done" : left < 90 ? `${left} s left` : `${Math.round(left / 60)} min left`}.`;
}

/** A picture that can be pressed, once it is there. */
export const tile = (name) =>
  h("button", { className: "tile", disabled: true, ariaLabel: `${name}: not there yet` }, h("img", { alt: "", hidden: true }));

const show = (button, src) => Object.assign(button.firstElementChild, { src, hidden: false });
const data = (png) => `data:image/png;base64,${png}`;

/** A finished picture in its tile. entries: () -> those among which arrows go on. */
export function finish(button, entries, entry) {
  const title = named(entry), onclick = () => look(entries(), entries().indexOf(entry));
  show(button, urlOf(entry));
  Object.assign(button, { disabled: false, title, ariaLabel: title, onclick });
}

export class Board {
  /** view: its name in the address. table: tiles, where they do not stand row by row. */
  constructor(view, table) {
    Object.assign(this, { view, table, control: null, ids: [] });
    this.bar = h("progress", { max: 1, value: 0, hidden: true, ariaLabel: "progress" });
    this.said = h("p", { role: "status", className: "said" });
    this.place = h("div", { className: "scroll" });
    this.sheet = h("button", { className: "small", hidden: true, textContent: "Download all as one PNG" });
    this.which = h("p", { className: "soft" });
    this.way = h("div", { className: "way", tabIndex: 0, role: "group", ariaLabel: "from noise to picture" });
    this.ways = h("details", { hidden: true }, h("summary", { textContent: "How it came out of noise" }), this.which, this.way);
    this.root = h("div", {}, this.bar, this.said, this.place, this.sheet, this.ways);
    this.ways.ontoggle = () => this.drawWay();
  }

  say(text, bad) {
    tell(this.said, text, bad);
  }

  /** Starts jobs, [{path, body, files}], and follows them. Returns entries of the history, one for each picture that came. */
  make(requests) {
    this.say("Asking the server.");
    return this.run(requests.length, (signal, i) => start(requests[i].path, requests[i].body, { signal, said: (text) => this.say(text) }), requests);
  }

  /** Goes on with jobs that were started before. */
  attach(ids) {
    return this.run(ids.length, (_, i) => ({ id: ids[i] }), []);
  }

  async run(count, begin, requests) {
    this.stop();
    const control = (this.control = new AbortController()), { signal } = control;
    Object.assign(this, { count, requests, ids: [], entries: [], steps: [], tiles: null, over: 0, faults: new Set(), shares: Array(count).fill(0), chosen: 0, began: Date.now() });
    this.sheet.hidden = this.ways.hidden = true;
    dispatchEvent(new Event("busy"));
    if (matchMedia("(max-width: 52rem)").matches) this.root.scrollIntoView();
    if (this.table) this.prepare({ n: 1 });
    try {
      for (let first = 0; first < count; first += WAVE) {
        const wave = Array.from({ length: Math.min(WAVE, count - first) }, (_, k) => first + k);
        await Promise.all(wave.map(async (i) => {
          try {
            const { id } = await begin(signal, i);
            if (signal.aborted) cancel(id);
            this.ids[i] = id;
          } catch (error) {
            if (!error.status || count === 1) throw error;
            this.fail(i, error.message);
          }
        }));
        signal.throwIfAborted();
        const link = document.querySelector(`nav [href^="#${this.view}"]`), lost = (gone) => gone && this.say("The connection is lost. The server continues the job; reconnecting.");
        link.href = `#${this.view}?job=${this.ids.filter(Boolean).join(".")}`;
        if (link.ariaCurrent) history.replaceState(null, "", link.href);
        await follow(wave.map((i) => this.ids[i]).filter(Boolean), (name, state) => signal.aborted || this.event(name, state), { signal, lost });
      }
      if (count > 1) this.finished();
    } catch (error) {
      if (!signal.aborted) this.say(error.message, true);
    }
    if (control === this.control) this.stop();
    return this.entries.flat();
  }

  async event(name, state) {
    const i = this.ids.indexOf(state.id);
    if (state.n) this.prepare(state);
    if (name === "done") await this.done(i, state);
    else if (OVER.includes(name)) this.fail(i, FAULTS[name] ?? state.detail);
    else {
      if (state.state === "started") this.since ??= { seconds: state.step ? 0 : state.seconds, step: 0 };
      this.shares[i] = state.step / state.steps;
      if (state.previews) (this.steps[i] ??= []).push(state);
      state.previews?.forEach((png, k) => show(this.tiles[i + k], data(png)));
      if (this.count === 1) this.say(told(state, this.since));
    }
    this.bar.value = this.shares.reduce((sum, share) => sum + share, 0) / this.count;
    if (this.count > 1) this.say(`${this.over} of ${plural(this.count, "picture")}.`);
  }

  /** Empty tiles: of a single job for each of its pictures, else one for each job. */
  prepare(state) {
    if (this.tiles) return;
    const { kind, shape } = modelOf(state), count = this.count > 1 ? this.count : kind === "points" ? 1 : state.n;
    const place = this.table?.() ?? h("div", { className: "tiles" }, ...Array.from({ length: count }, (_, i) => tile(`picture ${i + 1}`)));
    place.classList.toggle("one", count === 1);
    place.style.setProperty("--aspect", kind === "points" ? 1 : `${shape.at(-1)} / ${shape.at(-2)}`);
    this.place.replaceChildren(place);
    this.tiles = [...place.querySelectorAll(".tile")];
    this.since = null;
    Object.assign(this.bar, { hidden: false, value: 0 });
  }

  fail(i, words) {
    this.over++;
    this.shares[i] = 1;
    this.faults.add(words);
    if (this.count === 1) this.say(`Not made: ${words}.`, true);
    else Object.assign(this.tiles[i], { title: words, ariaLabel: words }).classList.add("failed");
  }

  async done(i, state) {
    const { id, n, seed, note, steps, seconds, images } = state;
    const now = Date.now(), entries = images.map((png, k) => entryOf(fromBase64(png), `${id}/${k}`, now - (i + k) / 1000));
    this.entries[i] = entries;
    this.shares[i] = 1;
    this.over++;
    entries.forEach((entry, k) => {
      const button = this.tiles[i + k];
      finish(button, () => this.entries.flat(), entry);
      button.onfocus = () => ((this.chosen = i + k), this.drawWay());
    });
    this.ways.hidden = !this.steps.some((all) => all.length > 1);
    this.drawWay();
    const lost = await keep(entries, this.requests[i]?.files).catch(() => " This browser keeps no history: download what you want to keep.");
    if (this.count === 1) {
      const seeds = entries[0].settings?.seeds ? "" : `, seed ${seed}${n > 1 ? ` to ${BigInt(seed) + BigInt(n - 1)}` : ""}`;
      this.say(`Done in ${seconds.toFixed(1)} s: ${state.model}, ${plural(steps, "step")}${seeds}.${note ? ` Note: ${note}.` : ""}${lost ?? ""}`);
      this.sheet.hidden = images.length < 2;
      this.sheet.onclick = async () => save(new Uint8Array(await (await ask(`v1/jobs/${id}/result`)).arrayBuffer()), `${state.model}-${seed}.png`);
    }
  }

  /** Of several jobs: how it went. */
  finished() {
    const { faults, began } = this, bad = faults.size > 0, words = bad ? ` Not made: ${[...faults].join("; ")}.` : "";
    this.say(`${plural(this.entries.flat().length, "picture")} in ${((Date.now() - began) / 1000).toFixed(1)} s.${words}`, bad);
  }

  /** What the network saw and what it believed after each step, of one picture. */
  drawWay() {
    if (!this.ways.open || this.ways.hidden) return;
    const several = this.count > 1, steps = this.steps[several ? this.chosen : 0] ?? [], k = several ? 0 : this.chosen;
    this.which.textContent = `Picture ${this.chosen + 1} after each step: the noisy picture, below it the prediction.`;
    this.way.replaceChildren(...steps.map(({ step, previews, noisy }) =>
      h("figure", {}, h("img", { src: data(noisy[k]), alt: `noisy, step ${step}` }), h("img", { src: data(previews[k]), alt: "prediction" }), h("figcaption", { textContent: step }))));
  }

  /** Lets go of the jobs; where they are cancelled, the server does, too. */
  stop(cancelled = false) {
    if (!this.control) return;
    if (cancelled) {
      this.ids.forEach((id) => cancel(id));
      this.say("Cancelled.");
    }
    this.control.abort();
    this.control = null;
    this.bar.hidden = true;
    dispatchEvent(new Event("busy"));
  }
}
