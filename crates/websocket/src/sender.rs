//! From what the app sends to a server's frames.

use crate::deflate::Deflater;
use crate::extension::Parameters;
use crate::frame::{Kind, Opcode, SERVER_HEADER_MOST, write_header};

/// The server's half of a connection.
pub(crate) struct Sender {
    parameters: Option<Parameters>,
    deflater: Option<Deflater>,
}

impl Sender {
    pub(crate) fn new(parameters: Option<Parameters>) -> Sender {
        Sender { parameters, deflater: None }
    }

    /// Whether a message of this length is compressed. An empty one never is: there is nothing to
    /// save.
    pub(crate) fn compresses(&self, length: usize) -> bool {
        self.parameters.is_some_and(|parameters| length >= parameters.least.max(1))
    }

    /// Writes a message as one frame.
    pub(crate) fn message(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
        match self.parameters {
            Some(parameters) if self.compresses(payload.len()) => {
                self.compressed(&parameters, kind, payload, out);
            }
            _ => {
                write_header(Opcode::Message(kind), false, payload.len() as u64, out);
                out.extend_from_slice(payload);
            }
        }
    }

    fn compressed(
        &mut self,
        parameters: &Parameters,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        // How long the header is, the compressed length decides: room for the longest, and what
        // is not needed of it is closed afterwards.
        let start = out.len();
        let room = start + SERVER_HEADER_MOST;
        out.resize(room, 0);
        let deflater = self.deflater.get_or_insert_with(|| Deflater::new(parameters));
        deflater.deflate(payload, out);
        let length = out.len() - room;
        let mut header = Vec::with_capacity(SERVER_HEADER_MOST);
        write_header(Opcode::Message(kind), true, length as u64, &mut header);
        out[start..start + header.len()].copy_from_slice(&header);
        out.copy_within(room.., start + header.len());
        out.truncate(start + header.len() + length);
        if !parameters.server_context {
            self.release();
        }
    }

    /// Gives up the compressor, and with it the context: what is sent next refers to nothing
    /// earlier, which a sender may do at any time.
    pub(crate) fn release(&mut self) {
        if let Some(deflater) = self.deflater.take() {
            deflater.give_back();
        }
    }
}
