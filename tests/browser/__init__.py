"""The pages as a person sees them, in Chromium without a screen."""
