//! What the reactor does about TLS: the beginning and the end of a session. Nothing of it is on
//! the way of a connection without one.

use super::*;
use crate::tls::Complaint;

/// Handshakes may take this part of `worker_connections`; beyond it the oldest makes way. Clients
/// that begin and go silent shall not keep out those that mean it.
const HANDSHAKES_PART: usize = 2;

impl<G: Gateway> Reactor<G> {
    /// Gives a connection that was just accepted its session, where listeners speak TLS. False:
    /// there is none to be had, and without one the connection must not be used. A PROXY protocol
    /// header comes before TLS: it is read first.
    pub fn secure(&mut self, connection: &mut Connection<G>) -> bool {
        let Some(server) = &mut self.tls else { return true };
        if connection.awaits_preface {
            return true;
        }
        match server.session() {
            Ok(session) => {
                if self.handshakes >= (self.options.worker_connections / HANDSHAKES_PART).max(1) {
                    self.end_oldest_handshake();
                }
                connection.tls = Some(Arc::new(session));
                connection.phase = Phase::Handshake;
                self.handshakes += 1;
                self.connections.set_deadline(connection.key, Class::Handshake, self.now);
                true
            }
            Err(error) => {
                self.notices.push(Severity::Error, || {
                    format!("a connection was closed: TLS cannot be set up: {error}")
                });
                false
            }
        }
    }

    /// Something was received during the handshake: it may be over now.
    pub fn look_at_handshake(&mut self, connection: &mut Connection<G>) {
        if connection.tls.as_ref().is_some_and(|session| session.is_established()) {
            self.leave_handshake(connection);
            connection.phase = Phase::Idle;
            self.connections.set_deadline(connection.key, Class::Silent, self.now);
        }
    }

    /// The connection's handshake is over, one way or the other.
    pub fn leave_handshake(&mut self, connection: &Connection<G>) {
        if connection.phase == Phase::Handshake {
            self.handshakes -= 1;
        }
    }

    fn end_oldest_handshake(&mut self) {
        let Some(key) = self.connections.oldest(Class::Handshake) else { return };
        if let Found::Here(connection) = self.connections.take(key) {
            let peer = peer_name(connection.peer);
            self.notices.push(Severity::Debug, || {
                format!("the TLS handshake with {peer} was given up for that of another")
            });
            self.close(connection);
        }
    }

    /// Reading has failed, by the socket's fault or by the session's.
    pub fn broken(&mut self, mut connection: Box<Connection<G>>, error: Errno) {
        let complaint = connection.tls.as_ref().and_then(|session| session.complaint());
        let peer = peer_name(connection.peer);
        match complaint.filter(|_| error == Errno::PROTO) {
            None => self.close(connection),
            Some(Complaint::Plain) => {
                self.leave_handshake(&connection);
                self.notices.push(Severity::Debug, || {
                    format!("{peer} speaks HTTP without TLS to a TLS listener: 400")
                });
                connection.tls = None;
                self.reject(connection, Status::BAD_REQUEST, &[]);
            }
            Some(Complaint::Failed(reason)) => {
                self.leave_handshake(&connection);
                // Scanners do this all day.
                self.notices
                    .push(Severity::Debug, || format!("TLS with {peer} has failed: {reason}"));
                connection.output.clear();
                self.linger(connection);
            }
        }
    }

    pub fn tire_of_handshake(&mut self, connection: Box<Connection<G>>) {
        let peer = peer_name(connection.peer);
        self.notices.push(Severity::Debug, || {
            format!("the TLS handshake with {peer} took too long: connection closed")
        });
        self.close(connection);
    }
}
