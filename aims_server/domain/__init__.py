"""Pure figures over what the platform tells: no call, no clock, no HTTP."""
