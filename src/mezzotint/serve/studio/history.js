// Pictures that were made here, with their settings, in this browser alone (IndexedDB), and the files that edits began from.

import { settingsOf } from "./png.js";

const NAME = "mezzotint", VERSION = 1;
const KEPT = 2000; // pictures without a star
const channel = globalThis.BroadcastChannel ? new BroadcastChannel(NAME) : null; // other tabs

const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

let opening = null;
function database() {
  if (opening) return opening;
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("pictures", { keyPath: "key" }).createIndex("time", "time");
    request.result.createObjectStore("files", { keyPath: "name" });
  };
  return (opening = settled(request));
}

const store = async (name, mode = "readonly") => (await database()).transaction(name, mode).objectStore(name);

function changed() {
  channel?.postMessage("changed");
  dispatchEvent(new Event("history"));
}
if (channel) channel.onmessage = () => dispatchEvent(new Event("history"));

/** An entry for a PNG's bytes. key: the same for the same picture of the same job, so that it is kept once. */
export const entryOf = (bytes, key, time) => ({ key, time, bytes, settings: settingsOf(bytes), star: false });

/** Keeps entries that are not there yet. files: {picture, mask} that they began from, kept by the SHA-256 in the settings. */
export async function keep(entries, files = {}) {
  for (const [name, bytes] of Object.entries(files)) await settled((await store("files", "readwrite")).put({ name: entries[0].settings[name], bytes }));
  const pictures = await store("pictures", "readwrite");
  const there = await Promise.all(entries.map(({ key }) => settled(pictures.getKey(key))));
  await Promise.all(entries.filter((_, i) => there[i] === undefined).map((entry) => settled(pictures.put(entry))));
  if ((await settled((await store("pictures")).count())) > KEPT) await remove(surplus((await all()).reverse()));
  else changed();
}

/** Which of entries, oldest first, are too many: those without a star beyond the newest `most`. */
export function surplus(entries, most = KEPT) {
  const plain = entries.filter(({ star }) => !star);
  return plain.slice(0, Math.max(plain.length - most, 0));
}

/** All entries, newest first. */
export const all = async () => (await settled((await store("pictures")).index("time").getAll())).reverse();

export async function star(entry) {
  entry.star = !entry.star;
  await settled((await store("pictures", "readwrite")).put(entry));
  changed();
}

export async function remove(entries) {
  const pictures = await store("pictures", "readwrite");
  await Promise.all(entries.map(({ key }) => settled(pictures.delete(key))));
  changed();
}

/** The bytes of such a file; undefined where it is not here. */
export const file = async (name) => name && (await settled((await store("files")).get(name)))?.bytes;
