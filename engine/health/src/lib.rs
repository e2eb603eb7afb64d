//! Whether a live object is current, in progress or failed, by kstatus rules.
