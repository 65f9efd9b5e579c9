"""Virtual reality in a browser: a page with three.js, WebXR where there is a headset.

The folder ``static/three`` holds three.js 0.180.0 unchanged (MIT licence, beside it).
"""
