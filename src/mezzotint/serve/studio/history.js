// Pictures that were made here, with their settings, in this browser alone (IndexedDB), and the files that edits began from.

import { settingsOf, sha256 } from "./png.js";

const NAME = "mezzotint", VERSION = 1;
const KEPT = 2000; // pictures without a star
const channel = globalThis.BroadcastChannel ? new BroadcastChannel(NAME) : null; // other tabs

const asked = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

let opening = null;
function database() {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("pictures", { keyPath: "key" }).createIndex("time", "time");
      request.result.createObjectStore("files", { keyPath: "digest" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
}

const store = async (name, mode = "readonly") => (await database()).transaction(name, mode).objectStore(name);

function changed() {
  channel?.postMessage("changed");
  dispatchEvent(new Event("history"));
}
if (channel) channel.onmessage = () => dispatchEvent(new Event("history"));

/** An entry for a PNG's bytes. key: the same for the same picture of the same job, so that it is kept once. */
export function entryOf(bytes, key, time) {
  const settings = settingsOf(bytes);
  return { key, time, bytes, settings, star: false };
}

/** Keeps entries; those that are there stay as they are. */
export async function keep(entries) {
  const pictures = await store("pictures", "readwrite");
  const there = new Set(await Promise.all(entries.map(({ key }) => asked(pictures.getKey(key)))));
  await Promise.all(entries.filter(({ key }) => !there.has(key)).map((entry) => asked(pictures.put(entry))));
  await prune();
  changed();
}

/** Which of entries, oldest first, are too many: those without a star beyond the newest `most`. */
export const surplus = (entries, most = KEPT) => {
  const plain = entries.filter((entry) => !entry.star);
  return plain.slice(0, Math.max(plain.length - most, 0));
};

async function prune() {
  const count = await asked((await store("pictures")).count());
  if (count <= KEPT) return;
  const old = surplus(await asked((await store("pictures")).index("time").getAll()));
  const pictures = await store("pictures", "readwrite");
  await Promise.all(old.map(({ key }) => asked(pictures.delete(key))));
}

/** All entries, newest first. */
export async function all() {
  const entries = await asked((await store("pictures")).index("time").getAll());
  return entries.reverse();
}

export async function star(entry) {
  entry.star = !entry.star;
  await asked((await store("pictures", "readwrite")).put(entry));
  changed();
}

export async function remove(entries) {
  const pictures = await store("pictures", "readwrite");
  await Promise.all(entries.map(({ key }) => asked(pictures.delete(key))));
  changed();
}

/** Keeps a file that an edit begins from; returns its SHA-256, by which the edit's settings name it. */
export async function keepFile(bytes) {
  const digest = sha256(bytes);
  await asked((await store("files", "readwrite")).put({ digest, bytes }));
  return digest;
}

/** The bytes of such a file; undefined where it is not here. */
export const file = async (digest) => (await asked((await store("files")).get(digest)))?.bytes;
