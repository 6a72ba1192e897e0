"""From an edit to a plan: one planner an edit. Pure: reads headers and config, writes nothing."""
