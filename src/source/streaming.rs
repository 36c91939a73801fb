//! [`Streaming`]: what the server is asked for, by its version (pure).

/// Whether transactions come while they are still open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streaming {
    /// Large ones, as the server's version knows how to.
    #[default]
    Auto,
    /// None: the server keeps each until it commits.
    Off,
}

impl Streaming {
    /// Returns the options of `START_REPLICATION` that say so to a server of this version.
    ///
    /// Never `two_phase`: it would stay with the slot for ever. The highest version of the protocol
    /// that each server knows: 3 tells a streamed transaction that is prepared, and 4 with
    /// `parallel` tells where each was undone.
    pub(super) const fn options(self, server_version: u32) -> &'static str {
        match (self, server_version) {
            (Self::Off, _) | (Self::Auto, ..140_000) => "proto_version '1'",
            (Self::Auto, 140_000..150_000) => "proto_version '2', streaming 'on'",
            (Self::Auto, 150_000..160_000) => "proto_version '3', streaming 'on'",
            (Self::Auto, 160_000..) => "proto_version '4', streaming 'parallel'",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_asked_for_what_it_knows() {
        for (version, expected) in [
            (140_023, "proto_version '2', streaming 'on'"),
            (150_018, "proto_version '3', streaming 'on'"),
            (160_014, "proto_version '4', streaming 'parallel'"),
            (180_004, "proto_version '4', streaming 'parallel'"),
        ] {
            assert_eq!(Streaming::Auto.options(version), expected);
            assert_eq!(Streaming::Off.options(version), "proto_version '1'");
        }
    }
}
