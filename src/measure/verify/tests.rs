//! Every check can fail: each is given something wrong.
