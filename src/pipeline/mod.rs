//! Joins the stages: owns every task, every channel and the order of shutdown.

#[cfg_attr(not(test), expect(dead_code, reason = "the stage that calls it is not joined yet"))]
mod marks;
