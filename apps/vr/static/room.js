// A calm room: daylight, a wooden table, a track with a ball between two rings, and a board for words.

import * as THREE from "./three/three.module.min.js";
import { PLAIN, paint } from "./quality.js";

export const TABLE_Y = 0.74;
export const REACH_M = 0.3;
export const TRACK_Z = 0.2;
export const BALL_M = 0.038;
const LEFT = 0x18b3ab;
const RIGHT = 0xf09a1c;

function canvasTexture(width, height, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  paint(canvas.getContext("2d"), width, height);
  const texture = new THREE.CanvasTexture(canvas);
  texture.colorSpace = THREE.SRGBColorSpace;
  texture.anisotropy = 4;
  return texture;
}

// Repeatable "random" numbers: the room looks the same each time.
function noise(seed) {
  let state = seed;
  return () => ((state = (state * 1664525 + 1013904223) % 4294967296) / 4294967296);
}

function wood(context, width, height) {
  const random = noise(7);
  context.fillStyle = "#b98d63";
  context.fillRect(0, 0, width, height);
  for (let plank = 0; plank < 5; plank++) {
    const top = (plank * height) / 5;
    context.fillStyle = `rgba(${random() > 0.5 ? "70,38,12" : "255,226,188"},${0.04 + 0.07 * random()})`;
    context.fillRect(0, top, width, height / 5);
    for (let line = 0; line < 46; line++) {
      const y = top + random() * (height / 5);
      const sway = 3 + 7 * random();
      context.strokeStyle = `rgba(86,50,20,${0.03 + 0.1 * random()})`;
      context.lineWidth = 0.5 + 1.6 * random();
      context.beginPath();
      context.moveTo(0, y);
      context.bezierCurveTo(width / 3, y + sway, (2 * width) / 3, y - sway, width, y + sway / 2);
      context.stroke();
    }
    context.fillStyle = "rgba(60,32,10,0.35)";
    context.fillRect(0, top, width, 1.5);
  }
}

function slab(width, depth, height, radius, material) {
  const shape = new THREE.Shape();
  const [x, z] = [width / 2, depth / 2];
  shape.moveTo(-x + radius, -z);
  shape.lineTo(x - radius, -z);
  shape.absarc(x - radius, -z + radius, radius, -Math.PI / 2, 0);
  shape.lineTo(x, z - radius);
  shape.absarc(x - radius, z - radius, radius, 0, Math.PI / 2);
  shape.lineTo(-x + radius, z);
  shape.absarc(-x + radius, z - radius, radius, Math.PI / 2, Math.PI);
  shape.lineTo(-x, -z + radius);
  shape.absarc(-x + radius, -z + radius, radius, Math.PI, 1.5 * Math.PI);
  const bevel = Math.min(0.008, height / 3);
  const geometry = new THREE.ExtrudeGeometry(shape, {
    depth: height - 2 * bevel, bevelSize: bevel, bevelThickness: bevel, bevelOffset: -bevel, bevelSegments: 4, curveSegments: 24,
  });
  const uv = geometry.attributes.uv;
  for (let i = 0; i < uv.count; i++) uv.setXY(i, uv.getX(i) / width + 0.5, uv.getY(i) / depth + 0.5);
  geometry.translate(0, 0, bevel);
  geometry.rotateX(-Math.PI / 2);
  const mesh = new THREE.Mesh(geometry, material);
  mesh.castShadow = mesh.receiveShadow = true;
  return mesh;
}

// Soft reflections: a small room of glowing boxes, filtered once.
export function surroundings(renderer) {
  const box = new THREE.Scene();
  const panel = (color, power, size, at) => {
    const material = new THREE.MeshBasicMaterial({ color: new THREE.Color(color).multiplyScalar(power), side: THREE.DoubleSide });
    const mesh = new THREE.Mesh(new THREE.BoxGeometry(...size), material);
    mesh.position.set(...at);
    box.add(mesh);
  };
  panel(0xdfe9f0, 0.55, [12, 12, 12], [0, 0, 0]);
  panel(0xffffff, 5, [4, 0.1, 3], [0, 5.5, 0]);
  panel(0xffe7c8, 4, [0.1, 3, 4], [-5.5, 1.5, 1]);
  panel(0xcfe4ff, 2.5, [0.1, 3, 4], [5.5, 1, -1]);
  panel(0x8d7a68, 0.7, [12, 0.1, 12], [0, -5.5, 0]);
  const filter = new THREE.PMREMGenerator(renderer);
  const map = filter.fromScene(box, 0.04).texture;
  filter.dispose();
  return map;
}

function target(x, color) {
  const group = new THREE.Group();
  const glow = paint({ color, emissive: color, emissiveIntensity: 0.2, roughness: 0.35 });
  const ring = new THREE.Mesh(new THREE.TorusGeometry(0.068, 0.0095, 20, 72), glow);
  ring.rotation.x = Math.PI / 2;
  ring.position.y = 0.0095;
  ring.castShadow = true;
  const disc = new THREE.Mesh(
    new THREE.CircleGeometry(0.062, 48),
    new THREE.MeshBasicMaterial({ color, transparent: true, opacity: 0.16, depthWrite: false }),
  );
  disc.rotation.x = -Math.PI / 2;
  disc.position.y = 0.004;
  const halo = new THREE.Mesh(
    new THREE.PlaneGeometry(0.42, 0.42),
    new THREE.MeshBasicMaterial({
      color, transparent: true, opacity: 0, depthWrite: false,
      map: canvasTexture(128, 128, (c, w) => {
        const fade = c.createRadialGradient(w / 2, w / 2, w * 0.1, w / 2, w / 2, w / 2);
        fade.addColorStop(0, "rgba(255,255,255,1)");
        fade.addColorStop(1, "rgba(255,255,255,0)");
        c.fillStyle = fade;
        c.fillRect(0, 0, w, w);
      }),
    }),
  );
  halo.rotation.x = -Math.PI / 2;
  halo.position.y = 0.0035;
  group.add(ring, disc, halo);
  group.position.set(x, TABLE_Y, TRACK_Z);
  return { group, set: (power) => {
    glow.emissiveIntensity = 0.15 + 1.3 * power;
    disc.material.opacity = 0.14 + 0.4 * power;
    halo.material.opacity = 0.75 * power;
  } };
}

export class Room {
  constructor(renderer) {
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(0xd5dfe5);
    this.scene.fog = new THREE.Fog(0xd5dfe5, 3.2, 9);
    if (!PLAIN) {
      this.scene.environment = surroundings(renderer);
      this.scene.environmentIntensity = 0.55;
    }
    this.light();
    this.furnish();
    this.decorate();
    this.ball = this.makeBall();
    this.left = target(-REACH_M, LEFT);
    this.right = target(REACH_M, RIGHT);
    this.scene.add(this.left.group, this.right.group);
    this.makeBoard();
  }

  light() {
    this.scene.add(new THREE.HemisphereLight(0xf2f7ff, 0x9a8672, PLAIN ? 1.9 : 0.75));
    const sun = new THREE.DirectionalLight(0xfff0dc, 2.3);
    sun.position.set(-1.5, 3.2, 1.1);
    sun.target.position.set(0, TABLE_Y, 0.15);
    sun.castShadow = true;
    sun.shadow.mapSize.setScalar(PLAIN ? 512 : 1536);
    sun.shadow.radius = 5;
    sun.shadow.bias = -0.0004;
    sun.shadow.normalBias = 0.01;
    Object.assign(sun.shadow.camera, { left: -1.1, right: 1.1, top: 1.1, bottom: -1.1, near: 0.5, far: 6 });
    this.scene.add(sun, sun.target);
  }

  furnish() {
    const floor = new THREE.Mesh(
      new THREE.CircleGeometry(9, 64),
      paint({ color: 0xc3ccd1, roughness: 0.85 }),
    );
    floor.rotation.x = -Math.PI / 2;
    floor.receiveShadow = true;
    const rug = new THREE.Mesh(new THREE.CircleGeometry(1.5, 72), paint({ color: 0x7f9aa6, roughness: 1 }));
    rug.rotation.x = -Math.PI / 2;
    rug.position.set(0, 0.004, -0.1);
    rug.receiveShadow = true;
    const top = slab(1.5, 0.8, 0.036, 0.07, paint({
      map: canvasTexture(1024, 512, wood), roughness: 0.5, envMapIntensity: 0.8,
    }));
    top.position.set(0, TABLE_Y - 0.036, 0.12);
    const leg = paint({ color: 0x55636d, roughness: 0.5, metalness: 0.3 });
    for (const [x, z] of [[-0.62, -0.18], [0.62, -0.18], [-0.62, 0.42], [0.62, 0.42]]) {
      const mesh = new THREE.Mesh(new THREE.CylinderGeometry(0.022, 0.016, TABLE_Y - 0.03, 20), leg);
      mesh.position.set(x, (TABLE_Y - 0.03) / 2, z);
      mesh.castShadow = true;
      this.scene.add(mesh);
    }
    const track = slab(2 * REACH_M + 0.2, 0.094, 0.005, 0.046, paint({ color: 0x3b4650, roughness: 0.7 }));
    track.position.set(0, TABLE_Y - 0.002, TRACK_Z);
    track.castShadow = false;
    const line = new THREE.MeshBasicMaterial({ color: 0x8fa0ab });
    for (let i = -3; i <= 3; i++) {
      const tick = new THREE.Mesh(new THREE.PlaneGeometry(0.003, i ? 0.022 : 0.05), line);
      tick.rotation.x = -Math.PI / 2;
      tick.position.set((i * REACH_M) / 4, TABLE_Y + 0.0036, TRACK_Z);
      this.scene.add(tick);
    }
    const wall = new THREE.Mesh(
      new THREE.CylinderGeometry(4.6, 4.6, 4, 64, 1, true, Math.PI * 0.5, Math.PI),
      paint({ color: 0xdde5e9, roughness: 1, side: THREE.BackSide }),
    );
    wall.position.y = 2;
    this.scene.add(floor, rug, top, track, wall);
  }

  decorate() {
    const add = (geometry, settings, x, y, z) => {
      const mesh = new THREE.Mesh(geometry, paint(settings));
      mesh.position.set(x, TABLE_Y + y, z);
      mesh.castShadow = mesh.receiveShadow = true;
      this.scene.add(mesh);
      return mesh;
    };
    const round = (points) => new THREE.LatheGeometry(points.map(([r, y]) => new THREE.Vector2(r, y)), 40);
    const mug = [[0, 0.002], [0.034, 0.002], [0.038, 0.01], [0.039, 0.088], [0.036, 0.09], [0.034, 0.086], [0.033, 0.012], [0, 0.012]];
    add(round(mug), { color: 0x3f6f8f, roughness: 0.35, side: THREE.DoubleSide }, -0.52, 0, -0.08);
    const handle = add(new THREE.TorusGeometry(0.024, 0.0055, 12, 32), { color: 0x3f6f8f, roughness: 0.35 }, -0.476, 0.047, -0.08);
    handle.scale.set(0.85, 1.1, 1);
    const pot = [[0, 0.001], [0.045, 0.001], [0.062, 0.1], [0.066, 0.104], [0.06, 0.106], [0.055, 0.095], [0, 0.092]];
    add(round(pot), { color: 0xe9e2d6, roughness: 0.7, side: THREE.DoubleSide }, 0.55, 0, -0.12);
    const random = noise(11);
    for (let i = 0; i < 26; i++) {
      const turn = i * 2.4;
      const lean = 0.25 + 0.75 * random();
      const green = [0x4f8a5b, 0x3f7650, 0x6aa36a][i % 3];
      const leaf = add(new THREE.SphereGeometry(0.05, 14, 10), { color: green, roughness: 0.75 }, 0.55, 0.1, -0.12);
      leaf.scale.set(0.34, 1.0 + 0.5 * random(), 0.1);
      leaf.rotation.set(0, turn, 0);
      leaf.rotateX(lean);
      leaf.translateY(0.06);
    }
  }

  makeBall() {
    const ball = new THREE.Mesh(
      new THREE.SphereGeometry(BALL_M, 48, 32),
      paint({
        roughness: 0.28, clearcoat: 0.9, clearcoatRoughness: 0.15,
        map: canvasTexture(256, 128, (c, w, h) => {
          c.fillStyle = "#e9483a";
          c.fillRect(0, 0, w, h);
          c.fillStyle = "#fff4e6";
          c.fillRect(0, h * 0.42, w, h * 0.16);
        }),
      }),
    );
    ball.castShadow = true;
    ball.rotation.x = 0.5;
    this.scene.add(ball);
    return ball;
  }

  makeBoard() {
    this.boardCanvas = document.createElement("canvas");
    this.boardCanvas.width = 1024;
    this.boardCanvas.height = 320;
    this.boardTexture = new THREE.CanvasTexture(this.boardCanvas);
    this.boardTexture.colorSpace = THREE.SRGBColorSpace;
    this.board = new THREE.Mesh(
      new THREE.PlaneGeometry(1.1, 1.1 * (320 / 1024)),
      new THREE.MeshBasicMaterial({ map: this.boardTexture, transparent: true, toneMapped: false, fog: false }),
    );
    this.board.position.set(0, 1.35, -0.75);
    this.board.visible = false;
    this.scene.add(this.board);
  }

  // Words for the headset, where the page's own are not seen.
  write(headline, color, below) {
    const context = this.boardCanvas.getContext("2d");
    context.clearRect(0, 0, 1024, 320);
    context.fillStyle = "rgba(255,255,255,0.88)";
    context.beginPath();
    context.roundRect(8, 8, 1008, 304, 48);
    context.fill();
    context.textAlign = "center";
    context.fillStyle = color;
    context.font = "700 128px system-ui, sans-serif";
    context.fillText(headline, 512, 168);
    context.fillStyle = "#12202b";
    context.font = "400 48px system-ui, sans-serif";
    context.fillText(below, 512, 264, 960);
    this.boardTexture.needsUpdate = true;
  }

  // Put the ball at `x` (m) and roll it there; light the ring that is asked for and the one that is reached.
  setBall(x, cue, seconds) {
    const rolled = (x - this.ball.position.x) / BALL_M;
    this.ball.rotateOnWorldAxis(new THREE.Vector3(0, 0, 1), -rolled);
    this.ball.position.set(x, TABLE_Y + BALL_M + 0.003, TRACK_Z);
    const beat = 0.5 + 0.18 * Math.sin(seconds * 4);
    const near = (at) => Math.max(0, 1 - Math.abs(x - at) / 0.09);
    this.left.set(Math.max(cue === "left" ? beat : 0, near(-REACH_M)));
    this.right.set(Math.max(cue === "right" ? beat : 0, near(REACH_M)));
  }
}
