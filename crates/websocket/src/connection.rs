//! A WebSocket after its handshake: both halves, and the closing handshake between them.

use crate::Error;
use crate::close::CloseCode;
use crate::closing::{Closing, SendError, Sending};
use crate::extension::Parameters;
use crate::frame::{CONTROL_MOST, Kind, Opcode, REASON_MOST, write_header};
use crate::receiver::{ClientCompression, Event, Received, Receiver};
use crate::sender::Sender;

/// A WebSocket after its handshake.
///
/// What is sent is appended to a buffer of the caller. Pings are not answered and closes not
/// returned by themselves: the caller decides when to write.
pub struct Connection {
    receiver: Receiver,
    sender: Sender,
    closing: Closing,
}

impl Connection {
    /// A connection whose client may send messages of `max_message_size` bytes (`usize::MAX`: of
    /// any size), compressed as was agreed.
    pub fn new(max_message_size: usize, parameters: Option<Parameters>) -> Connection {
        let compression = match parameters {
            None => ClientCompression::None,
            Some(Parameters { client_context: false, .. }) => ClientCompression::EachByItself,
            Some(_) => ClientCompression::WithContext,
        };
        Connection {
            receiver: Receiver::new(max_message_size, compression),
            sender: Sender::new(parameters),
            closing: Closing::Open,
        }
    }

    /// How far the closing handshake is.
    pub fn closing(&self) -> Closing {
        self.closing
    }

    /// Reads bytes of the client until an event is complete or they end; unmasks them in place.
    /// Call it with the bytes after those that are consumed as long as there are any; stopping in
    /// between is how to wait for an app that is slow.
    ///
    /// Bytes that follow a close or an error are discarded.
    ///
    /// # Errors
    /// If the client breaks a rule. A [`Connection::close`] with the error's code is due then, if
    /// none has been sent; see [`Connection::closing`].
    pub fn receive<'a>(&mut self, input: &'a mut [u8]) -> Result<Received<'a>, Error> {
        if !self.closing.reads() {
            return Ok(Received { consumed: input.len(), event: None });
        }
        let received = self.receiver.receive(input);
        if matches!(received, Err(_) | Ok(Received { event: Some(Event::Close { .. }), .. })) {
            self.change(self.closing.receive_close());
        }
        received
    }

    /// Whether [`Connection::message`] compresses a message of this length. If not, its payload
    /// can be sent from where it lies, behind a [`Connection::message_header`].
    pub fn compresses(&self, length: usize) -> bool {
        self.sender.compresses(length)
    }

    /// Writes a message as one frame, compressed if that is agreed and worth it. A text is the
    /// caller's to be UTF-8.
    ///
    /// # Errors
    /// If one of both sides has closed.
    pub fn message(
        &mut self,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.closing.send(Sending::Message)?;
        self.sender.message(kind, payload, out);
        Ok(())
    }

    /// Writes the header of a message that is not compressed. Exactly `length` bytes of payload
    /// must follow it.
    ///
    /// # Errors
    /// If one of both sides has closed.
    pub fn message_header(
        &mut self,
        kind: Kind,
        length: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.closing.send(Sending::Message)?;
        write_header(Opcode::Message(kind), false, length, out);
        Ok(())
    }

    /// Writes a ping.
    ///
    /// # Errors
    /// If its payload is too long, or one of both sides has closed.
    pub fn ping(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.control(Opcode::Ping, Sending::Ping, payload, out)
    }

    /// Writes a pong.
    ///
    /// # Errors
    /// If its payload is too long, or the client has closed.
    pub fn pong(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), SendError> {
        self.control(Opcode::Pong, Sending::Pong, payload, out)
    }

    /// Writes a close: the first of both, or the answer to the client's. With
    /// [`CloseCode::NO_STATUS`] and no reason it says nothing, as one that answers such a one does.
    ///
    /// # Errors
    /// If the code or the reason cannot be sent, or the server has already closed.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        let mut payload = Vec::new();
        if code.may_be_sent() {
            payload.extend_from_slice(&code.number().to_be_bytes());
        } else if code != CloseCode::NO_STATUS {
            return Err(SendError::Code);
        }
        if reason.len() > REASON_MOST || payload.is_empty() && !reason.is_empty() {
            return Err(SendError::Reason);
        }
        payload.extend_from_slice(reason.as_bytes());
        self.control(Opcode::Close, Sending::Close, &payload, out)
    }

    fn control(
        &mut self,
        opcode: Opcode,
        sending: Sending,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        if payload.len() > CONTROL_MOST {
            return Err(SendError::ControlTooLong);
        }
        let closing = self.closing.send(sending)?;
        write_header(opcode, false, payload.len() as u64, out);
        out.extend_from_slice(payload);
        self.change(closing);
        Ok(())
    }

    /// The transport has ended: nothing more is sent or read.
    pub fn transport_ended(&mut self) {
        self.change(Closing::Closed);
    }

    /// Gives up the memory of the compressor, some hundred kilobytes, which the next message makes
    /// anew; it will refer to nothing earlier. For connections that have been idle for a while.
    pub fn release(&mut self) {
        self.sender.release();
    }

    /// What a state does not need is not kept.
    fn change(&mut self, closing: Closing) {
        self.closing = closing;
        if closing != Closing::Open {
            self.sender.release();
        }
        if !closing.reads() {
            self.receiver.discard();
        }
    }
}
