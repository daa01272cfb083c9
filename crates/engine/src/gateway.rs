//! What the engine has to know of who calls the app: almost nothing.

/// The engine keeps these for a gateway and never looks inside.
pub trait Gateway: Sized + Send + Sync + 'static {
    /// Made once per connection: the peer's address as the app sees it.
    type Peer: Send;
    /// An app's response that waits until the socket takes more.
    type Paused: Send;
}

/// What an app thread says when the app has returned.
pub enum Outcome<P> {
    /// The response is complete in the exchange's output.
    Complete,
    /// It is complete, and this has to be released on an app thread when it has been written.
    CompleteThen(P),
    /// There is more, when the output has been written.
    Pause(P),
    /// The app has failed after the head was sent: end the connection so that the client sees it.
    Abort,
}

#[cfg(test)]
pub mod tests {
    use super::Gateway;

    /// A gateway for tests of what needs none.
    pub struct Nothing;

    impl Gateway for Nothing {
        type Peer = ();
        type Paused = ();
    }
}
