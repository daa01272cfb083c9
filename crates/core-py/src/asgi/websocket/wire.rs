//! What goes over a WebSocket's wire: reading ahead, answering, ending.

use super::*;

/// Reads what is there, as far as the inbox has room, and answers what has to be answered.
pub fn pump(py: Python<'_>, call: &Call, state: &mut State) -> PyResult<()> {
    let server = &call.server;
    let mut scratch = server.asgi.scratch();
    loop {
        let (conversation, exchange) = parts(state)?;
        if conversation.is_full(server.asgi.websockets.max_queue) || exchange.waiting() > HIGH_WATER
        {
            break;
        }
        if !conversation.unread.is_empty() {
            let mut input = std::mem::take(&mut conversation.unread);
            digest(py, server, state, &mut input)?;
        } else {
            if !state.stream.has_more() {
                break;
            }
            match state.stream.read_raw(&mut scratch) {
                Ok(Arrived::Bytes(count)) => {
                    digest(py, server, state, &mut scratch[..count])?;
                }
                Ok(Arrived::Nothing | Arrived::End) => break,
                Err(_) => {
                    let (conversation, _) = parts(state)?;
                    if let Some(wire) = &mut conversation.wire {
                        wire.transport_ended();
                    }
                    state.disconnected = true;
                    conclude_wire(server, state);
                    break;
                }
            }
        }
        if !state.stream.is_open() {
            break;
        }
    }
    drop(scratch);
    settle(server, state);
    Ok(())
}

/// Turns bytes of the peer into messages for the app and answers to the peer.
pub fn digest(
    py: Python<'_>,
    server: &Server,
    state: &mut State,
    input: &mut [u8],
) -> PyResult<()> {
    let mut peer_ended = false;
    let (conversation, exchange) = parts(state)?;
    conversation.heard = true;
    let Some(mut wire) = conversation.wire.take() else { return Ok(()) };
    let mut at = 0;
    while at < input.len() {
        if conversation.is_full(server.asgi.websockets.max_queue) {
            conversation.unread = input[at..].to_vec();
            break;
        }
        let received = match wire.receive(&mut input[at..]) {
            Ok(received) => received,
            Err(error) => {
                let text = format!("WebSocket closed: {error} ({})", error.rule());
                server.asgi.journal.say(py, DEBUG, &text, None);
                let code = error.close_code();
                let sent = wire.close(code, error.rule(), exchange.tail());
                debug_assert!(sent.is_ok() || wire.closing() != Closing::Open);
                peer_ended |= conversation.phase == Phase::Open;
                conversation.end(code, error.rule());
                break;
            }
        };
        at += received.consumed;
        match received.event {
            None => {}
            Some(Event::Message { kind, data }) if conversation.phase == Phase::Open => {
                let object = match kind {
                    Kind::Text => utf8(py, &data)?.into_any(),
                    Kind::Binary => PyBytes::new(py, &data).into_any(),
                };
                conversation.inbox_bytes += data.len();
                conversation.inbox.push_back((kind, object.unbind()));
            }
            // Nobody wants to hear it any more.
            Some(Event::Message { .. } | Event::Pong(_)) => {}
            Some(Event::Ping(payload)) => {
                // After our close nothing more may be said.
                let answered = wire.pong(&payload, exchange.tail());
                debug_assert!(answered.is_ok() || wire.closing() != Closing::Open);
            }
            Some(Event::Close { code, reason }) => {
                if wire.closing() == Closing::CloseReceived {
                    let answered = wire.close(code, "", exchange.tail());
                    debug_assert!(answered.is_ok());
                }
                peer_ended |= conversation.phase == Phase::Open;
                conversation.end(code, &reason);
            }
        }
    }
    conversation.wire = Some(wire);
    // What the app says from now on cannot reach it, and that is nobody's mistake.
    state.disconnected |= peer_ended;
    Ok(())
}

/// Sends what was put behind the output, and gives the connection back when all is said.
pub fn settle(server: &Server, state: &mut State) {
    if !state.stream.is_open() {
        return;
    }
    if state.stream.exchange.has_output() && state.flush(server).is_err() {
        state.disconnected = true;
        if let Some(wire) = state.websocket.as_mut().and_then(|it| it.wire.as_mut()) {
            wire.transport_ended();
        }
    }
    conclude_wire(server, state);
}

/// Both sides have closed, or one is gone: the connection goes back.
pub fn conclude_wire(server: &Server, state: &mut State) {
    let Some(conversation) = &mut state.websocket else { return };
    let Some(wire) = &conversation.wire else { return };
    if wire.closing() != Closing::Closed || !state.stream.is_open() {
        return;
    }
    let whole = conversation.phase == Phase::Ended && !state.stream.is_broken();
    conversation.end(CloseCode::ABNORMAL, "");
    let outcome = if whole { Outcome::Complete } else { Outcome::Abort };
    state.stream.exchange.set_keep_alive(false);
    state.stream.linger();
    state.end(server, outcome);
}

/// Says goodbye. The peer has a moment for its own.
pub fn say_goodbye(
    server: &Server,
    state: &mut State,
    code: CloseCode,
    reason: &str,
) -> PyResult<()> {
    let (conversation, exchange) = parts(state)?;
    let Some(wire) = &mut conversation.wire else { return Ok(()) };
    wire.close(code, reason, exchange.tail())
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    conversation.end(code, reason);
    settle(server, state);
    if state.stream.is_open() && !state.blocked {
        server.engine.expect(&mut state.stream, Class::Linger);
    }
    Ok(())
}

/// Nothing is under way: the next deadline is that of the peer's silence, or of its close.
pub fn rest(server: &Server, state: &mut State) {
    let Some(wire) = state.websocket.as_ref().and_then(|it| it.wire.as_ref()) else { return };
    let class = match wire.closing() {
        Closing::Open => Class::Ping,
        _ => Class::Linger,
    };
    if !server.engine.has_deadline(&state.stream, class) {
        server.engine.expect(&mut state.stream, class);
    }
}

pub fn abandon(py: Python<'_>, server: &Server, state: &mut State, what: &str) {
    let text = format!("{} {what}: connection closed", state.stream.peer_name());
    server.asgi.journal.say(py, INFO, &text, None);
    state.disconnected = true;
    if let Some(conversation) = &mut state.websocket {
        conversation.end(CloseCode::ABNORMAL, "");
        if let Some(wire) = &mut conversation.wire {
            wire.transport_ended();
        }
    }
    state.end(server, Outcome::Abort);
}
