"""Everything that rebuilds the demo policy: scenes, data, training, figures. Not part of the installed package."""
