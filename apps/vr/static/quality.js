// How much the machine can draw: a graphics card gets everything, software drawing a plainer scene.

import * as THREE from "./three/three.module.min.js";

function drawsInSoftware() {
  const context = document.createElement("canvas").getContext("webgl2");
  if (!context) return true;
  const names = context.getExtension("WEBGL_debug_renderer_info");
  const name = names ? context.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  context.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

// "?quality=full" or "?quality=plain" decides in place of the machine.
const asked = new URLSearchParams(location.search).get("quality");
export const PLAIN = asked ? asked === "plain" : drawsInSoftware();

// The best material that this machine draws at a good pace; settings as for MeshPhysicalMaterial.
export function paint({ sheen, sheenColor, sheenRoughness, clearcoat, clearcoatRoughness, ...settings }) {
  if (PLAIN) {
    const { roughness, metalness, envMapIntensity, ...plain } = settings;
    return new THREE.MeshLambertMaterial(plain);
  }
  if (sheen === undefined && clearcoat === undefined) return new THREE.MeshStandardMaterial(settings);
  const rich = { sheen, sheenColor, sheenRoughness, clearcoat, clearcoatRoughness };
  for (const name in rich) if (rich[name] === undefined) delete rich[name];
  return new THREE.MeshPhysicalMaterial({ ...settings, ...rich });
}

// Draws at a resolution that keeps up: coarser after a second of slow frames, never finer again.
export class Pace {
  constructor(renderer) {
    this.renderer = renderer;
    this.ratio = PLAIN ? 0.75 : Math.min(devicePixelRatio, 2);
    renderer.setPixelRatio(this.ratio);
  }

  judge(medianMs) {
    if (asked || this.renderer.xr.isPresenting || medianMs < 40 || this.ratio <= 0.4) return;
    this.ratio = Math.max(0.4, this.ratio * 0.75);
    this.renderer.setPixelRatio(this.ratio);
  }
}
