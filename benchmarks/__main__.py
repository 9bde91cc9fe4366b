import importlib
import sys

NAMES = [
    "chunks",
    "speed",
    "rules",
    "integrated_gradients",
    "smoothgrad",
    "activation_maps",
    "cost",
    "memory",
    "overhead",
    "tokens",
    "first_call",
    "class_visualization",
    "metrics",
    "datasets",
    "growth",
    "soak",
    "study",
]

for name in sys.argv[1:] or NAMES:
    importlib.import_module(f"benchmarks.{name}").run()
