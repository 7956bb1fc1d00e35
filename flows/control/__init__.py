"""The control API: what people see and do in the control room, over HTTP on this machine."""
