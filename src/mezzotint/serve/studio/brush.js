// A mask in a picture's own pixels: white where the picture is made anew. No page here: edit.js shows it.

export class Mask {
  constructor(width, height) {
    Object.assign(this, { width, height, white: new Uint8Array(width * height), before: [] });
  }

  get empty() {
    return !this.white.includes(1);
  }

  /** Remembers how it is, before something changes. */
  begin() {
    this.before.push(this.white.slice());
  }

  undo() {
    if (this.before.length) this.white = this.before.pop();
  }

  /** A disc of a diameter in pixels about a point, which may lie outside; one of diameter 1 is the pixel that the point is in. */
  dot(x, y, size, white = 1) {
    const radius = size / 2, [cx, cy] = size === 1 ? [Math.floor(x) + 0.5, Math.floor(y) + 0.5] : [x, y];
    for (let row = Math.max(0, Math.floor(cy - radius)); row < Math.min(this.height, cy + radius); row++) {
      for (let column = Math.max(0, Math.floor(cx - radius)); column < Math.min(this.width, cx + radius); column++) {
        if ((column + 0.5 - cx) ** 2 + (row + 0.5 - cy) ** 2 <= radius ** 2) this.white[row * this.width + column] = white;
      }
    }
  }

  /** Dots close enough to be a stroke. */
  stroke(from, to, size, white = 1) {
    const count = Math.max(1, Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)));
    for (let k = 1; k <= count; k++) {
      this.dot(from.x + ((to.x - from.x) * k) / count, from.y + ((to.y - from.y) * k) / count, size, white);
    }
  }
}
