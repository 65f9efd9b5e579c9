// An arm with a hand: two bones that reach a point, and fingers that close.

import * as THREE from "./three/three.module.min.js";
import { paint } from "./quality.js";

const UPPER_M = 0.37;
const FORE_M = 0.34;
const FINGERS = [
  // x across the palm, where the finger starts along it, length, radius, spread
  { x: -0.0315, z: -0.09, length: 0.072, radius: 0.0092, spread: 0.09 },
  { x: -0.0105, z: -0.096, length: 0.081, radius: 0.0096, spread: 0.02 },
  { x: 0.0105, z: -0.093, length: 0.075, radius: 0.0092, spread: -0.05 },
  { x: 0.0305, z: -0.084, length: 0.059, radius: 0.0081, spread: -0.13 },
];
const PARTS = [0.46, 0.3, 0.24];

// A smooth round body along +y from its own origin; `profile` are [share of length, radius].
function lathe(profile, length, material) {
  const curve = new THREE.CatmullRomCurve3(profile.map(([t, r]) => new THREE.Vector3(r, t * length, 0)));
  const points = curve.getPoints(40).map((p) => new THREE.Vector2(Math.max(p.x, 0), p.y));
  const mesh = new THREE.Mesh(new THREE.LatheGeometry(points, 36), material);
  mesh.castShadow = mesh.receiveShadow = true;
  return mesh;
}

function capsule(radius, length, material) {
  const mesh = new THREE.Mesh(new THREE.CapsuleGeometry(radius, length, 8, 20), material);
  mesh.rotation.x = Math.PI / 2;
  mesh.position.z = -length / 2;
  mesh.castShadow = mesh.receiveShadow = true;
  return mesh;
}

// A chain of three joints that points to -z and curls downwards.
function finger({ length, radius }, material) {
  const root = new THREE.Group();
  const joints = [];
  let parent = root;
  PARTS.forEach((share, i) => {
    const joint = new THREE.Group();
    joint.position.z = i ? -PARTS[i - 1] * length : 0;
    joint.add(capsule(radius * (1 - 0.09 * i), share * length, material));
    parent.add(joint);
    joints.push(joint);
    parent = joint;
  });
  return { root, joints };
}

function palm(material) {
  const shape = new THREE.Shape();
  shape.moveTo(-0.021, 0.006);
  shape.bezierCurveTo(-0.036, -0.02, -0.041, -0.056, -0.037, -0.084);
  shape.bezierCurveTo(-0.028, -0.096, 0.022, -0.094, 0.034, -0.08);
  shape.bezierCurveTo(0.038, -0.05, 0.031, -0.02, 0.02, 0.006);
  shape.bezierCurveTo(0.01, 0.014, -0.01, 0.014, -0.021, 0.006);
  const geometry = new THREE.ExtrudeGeometry(shape, {
    depth: 0.008, bevelEnabled: true, bevelSize: 0.004, bevelThickness: 0.008, bevelSegments: 6, curveSegments: 20,
  });
  geometry.translate(0, 0, -0.004);
  geometry.rotateX(Math.PI / 2);
  const mesh = new THREE.Mesh(geometry, material);
  mesh.castShadow = mesh.receiveShadow = true;
  return mesh;
}

export class Limb {
  constructor() {
    const skin = paint({
      color: 0xd8a583, roughness: 0.58, sheen: 0.5, sheenColor: new THREE.Color(0xffc4a8), sheenRoughness: 0.6,
    });
    const sleeve = paint({ color: 0x2d4a63, roughness: 0.92 });
    this.root = new THREE.Group();
    this.shoulder = new THREE.Vector3(0.21, 1.1, 0.76);
    this.upper = lathe([[-0.08, 0], [0, 0.056], [0.4, 0.053], [0.85, 0.046], [1.02, 0.042], [1.11, 0]], UPPER_M, sleeve);
    this.fore = new THREE.Group();
    this.fore.add(lathe([[-0.11, 0], [-0.03, 0.041], [0.18, 0.045], [0.45, 0.042], [0.62, 0.0385], [0.635, 0]], FORE_M, sleeve));
    this.fore.add(lathe([[0.4, 0.033], [0.7, 0.031], [0.9, 0.026], [1.0, 0.0255], [1.06, 0]], FORE_M, skin));
    const cuff = new THREE.Mesh(new THREE.TorusGeometry(0.0375, 0.004, 12, 40), sleeve);
    cuff.rotation.x = Math.PI / 2;
    cuff.position.y = 0.62 * FORE_M;
    this.fore.add(cuff);
    this.hand = new THREE.Group();
    this.hand.scale.setScalar(1.12);
    this.hand.add(palm(skin));
    this.fingers = FINGERS.map((f) => {
      const made = finger(f, skin);
      made.root.position.set(f.x, 0, f.z);
      made.root.rotation.y = f.spread;
      this.hand.add(made.root);
      return made;
    });
    this.thumb = finger({ length: 0.078, radius: 0.0112 }, skin);
    this.thumb.root.position.set(-0.025, -0.003, -0.022);
    this.hand.add(this.thumb.root);
    const heel = new THREE.Mesh(new THREE.SphereGeometry(0.0185, 24, 16), skin);
    heel.scale.set(0.9, 0.72, 1.7);
    heel.position.set(-0.021, -0.006, -0.03);
    heel.rotation.y = 0.35;
    this.hand.add(heel);
    this.root.add(this.upper, this.fore, this.hand);
    this.setGrip(0);
  }

  // 0 is an open hand, 1 a fist.
  setGrip(grip) {
    this.grip = grip;
    for (const { joints } of this.fingers) {
      joints[0].rotation.x = -(0.1 + 1.05 * grip);
      joints[1].rotation.x = -(0.18 + 1.25 * grip);
      joints[2].rotation.x = -(0.12 + 0.85 * grip);
    }
    this.thumb.root.rotation.set(-0.25 - 0.35 * grip, 0.78 - 0.35 * grip, 0.25);
    this.thumb.joints[1].rotation.set(-0.1 - 0.3 * grip, -0.28 - 0.4 * grip, 0);
    this.thumb.joints[2].rotation.set(-0.1 - 0.3 * grip, -0.2 - 0.4 * grip, 0);
  }

  // Put the wrist at `wrist`; the elbow hangs outwards and down; the hand is turned by `yaw` and `pitch`.
  reach(wrist, yaw, pitch) {
    const toWrist = wrist.clone().sub(this.shoulder);
    const distance = Math.min(toWrist.length(), UPPER_M + FORE_M - 1e-3);
    const along = toWrist.normalize();
    const end = this.shoulder.clone().addScaledVector(along, distance);
    const cos = (UPPER_M ** 2 + distance ** 2 - FORE_M ** 2) / (2 * UPPER_M * distance);
    const bend = Math.acos(THREE.MathUtils.clamp(cos, -1, 1));
    const pole = new THREE.Vector3(0.75, -1, 0.1);
    const out = pole.addScaledVector(along, -pole.dot(along)).normalize();
    const elbow = this.shoulder.clone().addScaledVector(along, UPPER_M * Math.cos(bend));
    elbow.addScaledVector(out, UPPER_M * Math.sin(bend));
    place(this.upper, this.shoulder, elbow);
    place(this.fore, elbow, end);
    this.hand.position.copy(end);
    this.hand.rotation.set(pitch, yaw, 0, "YXZ");
  }
}

function place(body, from, to) {
  body.position.copy(from);
  body.quaternion.setFromUnitVectors(new THREE.Vector3(0, 1, 0), to.clone().sub(from).normalize());
}
