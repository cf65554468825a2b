"""Pages computed from the platform's answers; pure: no call, no clock, no HTTP."""
