// The scene: the limb and the ball follow the intent while it is fresh, and rest whenever it is not.

import * as THREE from "./three/three.module.min.js";
import { Limb } from "./limb.js";
import { Link } from "./link.js";
import { PLAIN, Pace } from "./quality.js";
import { BALL_M, REACH_M, Room, TABLE_Y, TRACK_Z } from "./room.js";

const element = (id) => document.getElementById(id);
const REST_WORDS = {
  waiting: "Waiting for the session",
  lost: "Connection lost. The limb is at rest.",
  silent: "No fresh signal. The limb is at rest.",
  rest: "",
  "": "",
};
const CUES = {
  left: { arrow: "\u2190", word: "Left", color: "#12908d" },
  right: { arrow: "\u2192", word: "Right", color: "#c9760b" },
  rest: { arrow: "", word: "Rest", color: "#12202b" },
};

const renderer = new THREE.WebGLRenderer({ canvas: element("view"), antialias: !PLAIN, powerPreference: "high-performance" });
const pace = new Pace(renderer);
renderer.shadowMap.enabled = true;
renderer.shadowMap.type = PLAIN ? THREE.BasicShadowMap : THREE.PCFSoftShadowMap;
renderer.toneMapping = THREE.ACESFilmicToneMapping;
renderer.toneMappingExposure = 0.86;
renderer.xr.enabled = true;
renderer.xr.setReferenceSpaceType("local-floor");

const room = new Room(renderer);
const limb = new Limb();
room.scene.add(limb.root);
const camera = new THREE.PerspectiveCamera(46, 1, 0.05, 30);
// A headset's own origin is where its wearer sits: before the table.
const SEAT_Z = 0.72;
const seat = new THREE.Group();
seat.add(camera);
room.scene.add(seat);
const link = new Link(showWords);

const now = { x: 0, lift: 0, grip: 0, cause: "waiting", seen: 0, cue: "" };
const wrist = new THREE.Vector3();
let lastMs = performance.now();

// ------------------------------------------------------------------ words
function cueOf(status) {
  return status.cue.split(/[/:]/).pop().toLowerCase().replace(/_hand$/, "");
}

function showWords() {
  const cue = cueOf(link.status);
  const shown = CUES[cue] ?? { arrow: "", word: link.status.cue, color: "#12202b" };
  const cause = link.restCause(performance.now());
  const words = REST_WORDS[cause] || link.status.message || "";
  const key = [cue, cause, link.status.state, words].join("|");
  if (key === showWords.key) return;
  showWords.key = key;
  element("cue").toggleAttribute("data-cue", false);
  if (shown.word) element("cue").setAttribute("data-cue", cue);
  element("cue-arrow").textContent = shown.arrow;
  element("cue-word").textContent = shown.word;
  element("guard-state").textContent = link.status.state || (link.isOpen ? "ready" : "waiting");
  element("link").textContent = cause === "" || cause === "waiting" ? "" : cause === "lost" ? "not connected" : "at rest";
  element("message").textContent = words;
  document.body.dataset.mode = cause === "" ? "live" : cause === "rest" || cause === "waiting" ? "rest" : "lost";
  room.write([shown.arrow, shown.word].filter(Boolean).join(" ") || "\u00b7", shown.color, words || link.status.state);
}

// ----------------------------------------------------------------- motion
const toward = (from, to, dt, tau) => from + (to - from) * (1 - Math.exp(-dt / tau));

function move(ms, dt) {
  const cause = link.restCause(ms);
  if (cause !== now.cause) {
    if (cause === "silent") link.event("rest");
    now.cause = cause;
    showWords();
  }
  const aim = cause ? 0 : THREE.MathUtils.clamp(link.intent, -1, 1) * REACH_M;
  now.x = toward(now.x, aim, dt, cause ? 0.12 : 0.09);
  now.lift = toward(now.lift, cause ? 0 : 1, dt, 0.14);
  now.grip = toward(now.grip, cause ? 0.12 : 0.12 + (0.2 * Math.abs(now.x)) / REACH_M, dt, 0.12);
  if (cause && Math.abs(now.x) < 1e-4) now.x = 0;
  room.setBall(now.x, cueOf(link.status), ms / 1000);
  // At rest the hand lies before the ball; awake it lies on it, and points from the shoulder to it.
  const x = now.x * (0.35 + 0.65 * now.lift);
  const yaw = 0.1 + 0.6 * Math.atan2(limb.shoulder.x - x, limb.shoulder.z - TRACK_Z);
  const behind = THREE.MathUtils.lerp(0.2, 0.138, now.lift);
  wrist.set(
    x + behind * Math.sin(yaw),
    TABLE_Y + THREE.MathUtils.lerp(0.02, 2 * BALL_M + 0.012, now.lift),
    TRACK_Z + behind * Math.cos(yaw),
  );
  limb.setGrip(now.grip);
  limb.reach(wrist, yaw, THREE.MathUtils.lerp(0.02, 0.06, now.lift));
}

function orbit(seconds) {
  if (renderer.xr.isPresenting) return;
  const angle = 0.1 * Math.sin(seconds * 0.22);
  const distance = 0.74;
  camera.position.set(distance * Math.sin(angle), 1.36 + 0.015 * Math.sin(seconds * 0.31), 0.1 + distance * Math.cos(angle));
  camera.lookAt(0, TABLE_Y, 0.1);
}

// ----------------------------------------------------- frames and their times
const frames = { intervals: [], late: 0, sinceMs: performance.now(), total: 0, median: 1000 / 60, reported: 0 };

function countFrame(ms, interval) {
  frames.total += 1;
  frames.intervals.push(interval);
  if (frames.total > 30 && interval > 1.5 * frames.median) {
    frames.late += 1;
    if (frames.reported++ < 5) link.event("frame-late", ms);
  }
  if (link.sequence !== now.seen) {
    now.seen = link.sequence;
    now.shownMs = performance.now();
  }
  const cue = cueOf(link.status);
  if (cue !== now.cue) {
    now.cue = cue;
    if (cue) link.event(`cue-shown:${cue.replace(/[^\w .-]/g, "").slice(0, 40)}`);
  }
  if (ms - frames.sinceMs < 1000) return;
  const sorted = frames.intervals.toSorted((a, b) => a - b);
  frames.median = sorted[Math.floor(sorted.length / 2)];
  pace.judge(frames.median);
  link.post({
    kind: "frames", n: sorted.length, median: frames.median / 1000, max: sorted.at(-1) / 1000, late: frames.late,
    sequence: now.seen, shown: now.shownMs === undefined ? undefined : now.shownMs / 1000,
  });
  Object.assign(frames, { intervals: [], late: 0, reported: 0, sinceMs: ms });
}

// In a headset the animation's own time starts elsewhere; performance.now() is the one clock of all reports.
function draw() {
  const ms = performance.now();
  const interval = ms - lastMs;
  lastMs = ms;
  move(ms, Math.min(interval / 1000, 0.1));
  orbit(ms / 1000);
  room.board.visible = renderer.xr.isPresenting;
  renderer.render(room.scene, camera);
  countFrame(ms, interval);
}

function resize() {
  if (renderer.xr.isPresenting) return;
  renderer.setSize(innerWidth, innerHeight, false);
  camera.aspect = innerWidth / innerHeight;
  // A narrow window sees as much of the table's width as a wide one.
  camera.fov = camera.aspect > 1.5 ? 46 : THREE.MathUtils.radToDeg(2 * Math.atan((Math.tan(0.4014) * 1.5) / camera.aspect));
  camera.updateProjectionMatrix();
}

// ------------------------------------------------------------ people's acts
function stop() {
  link.rest = true;
  link.post({ kind: "stop" });
  showWords();
}

element("stop").addEventListener("click", stop);
addEventListener("keydown", (event) => {
  if (event.code !== "Space" && event.code !== "Escape") return;
  event.preventDefault();
  stop();
});
element("view").addEventListener("pointerdown", () => link.event("select"));
document.addEventListener("visibilitychange", () => {
  link.event(document.hidden ? "hidden" : "visible");
  lastMs = performance.now();
  frames.sinceMs = lastMs;
});
addEventListener("resize", resize);

for (const side of [0, 1]) {
  const controller = renderer.xr.getController(side);
  controller.addEventListener("select", () => link.event("select"));
  controller.addEventListener("squeezestart", stop);
}
renderer.xr.addEventListener("sessionstart", () => {
  seat.position.set(0, 0, SEAT_Z);
  camera.position.set(0, 0, 0);
  link.event("enter-xr");
});
renderer.xr.addEventListener("sessionend", () => {
  seat.position.set(0, 0, 0);
  link.event("exit-xr");
  resize();
});

async function offerHeadset() {
  if (!navigator.xr || !(await navigator.xr.isSessionSupported("immersive-vr").catch(() => false))) return;
  element("enter").hidden = false;
  element("enter").addEventListener("click", async () => {
    try {
      const session = await navigator.xr.requestSession("immersive-vr", { optionalFeatures: ["local-floor"] });
      await renderer.xr.setSession(session);
    } catch (error) {
      element("message").textContent = `The headset did not start: ${error.message}`;
    }
  });
}

// What tests may look at, and nothing they could change.
window.__scene = Object.freeze({
  get ballX() { return room.ball.position.x / REACH_M; },
  get wristX() { return wrist.x; },
  get grip() { return limb.grip; },
  get restCause() { return link.restCause(performance.now()); },
  get cue() { return now.cue; },
  get state() { return link.status.state; },
  get frames() { return frames.total; },
  get median() { return frames.median; },
});

resize();
showWords();
offerHeadset();
renderer.setAnimationLoop(draw);
