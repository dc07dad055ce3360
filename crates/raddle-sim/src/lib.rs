//! Part of Raddle.
