"""llama-server's own endpoints: /apply-template, /props, /slots, /completion and /infill."""
