//! Audio plane: RTP, browser legs, bridging, the recording tap.
