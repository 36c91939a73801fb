//! Who is let in, over what, and whom we let in ourselves.
