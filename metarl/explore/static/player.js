// The time of a trial: running, pausing, stepping. Tells `show` the time, which may be between two
// steps while it runs.

const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Clock {
  constructor(show) {
    this.show = show;
    this.time = 0;
    this.length = 0;
    this.running = false;
    this.speed = 10; // steps per second
    this.before = null;
  }

  setLength(length) {
    this.length = length;
    this.go(Math.min(this.time, length));
  }

  go(time) {
    this.time = Math.min(Math.max(time, 0), this.length);
    this.show(this.shown);
  }

  // What pictures are of: whole steps where moving pictures are not wanted.
  get shown() {
    return still.matches ? Math.floor(this.time) : this.time;
  }

  run() {
    if (!this.length || this.running) return;
    if (this.time >= this.length) this.time = 0;
    this.running = true;
    this.before = null;
    requestAnimationFrame((now) => this.tick(now));
    this.show(this.shown);
  }

  pause() {
    if (!this.running) return;
    this.running = false;
    this.go(Math.round(this.time));
  }

  toggle() {
    if (this.running) this.pause();
    else this.run();
  }

  step(by) {
    const time = by > 0 ? Math.floor(this.time) + by : Math.ceil(this.time) + by;
    this.running = false;
    this.go(time);
  }

  tick(now) {
    if (!this.running) return;
    const passed = this.before === null ? 0 : Math.min((now - this.before) / 1000, 0.25);
    this.before = now;
    this.time = Math.min(this.time + passed * this.speed, this.length);
    if (this.time >= this.length) this.running = false;
    this.show(this.shown);
    if (this.running) requestAnimationFrame((later) => this.tick(later));
  }
}
