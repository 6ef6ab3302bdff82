"""The demo policy: a small Pi0.5 trained on rendered table scenes, with short episodes; see its README."""
