//! What passes with time: deadlines, the beat, and how long the poller may wait.

use super::*;
use crate::scoreboard::IncidentKind;

impl<G: Gateway> Reactor<G> {
    /// Deadlines, the beat and the end of draining. To be called before every wait.
    pub fn tick(&mut self) {
        while let Some((key, class)) = self.connections.expired(self.now) {
            self.on_deadline(key, class);
        }
        self.check_works();
        self.check_seats();
        self.refuse_late();
        if self.listeners.pause_is_over(self.now) {
            self.arm_listeners();
        }
        if self.now >= self.next_beat {
            self.next_beat = self.now.after(BEAT);
            let idle = self.connections.here().filter(|it| it.phase == Phase::Idle).count();
            let slot = self.board.slot(self.slot);
            slot.beat_engine(self.now);
            slot.set_connections(self.connections.len() as u32, idle as u32);
            self.arm_listeners();
            self.peek_when_idle();
        }
        self.move_connections();
        self.tick_drain();
    }

    fn on_deadline(&mut self, key: Key, class: Class) {
        let mut connection = match self.connections.take(key) {
            Found::Here(connection) => connection,
            Found::Out if self.options.event_loop.is_some() => {
                return self.news.push_back(News::Deadline(key, class));
            }
            Found::Out | Found::Gone => return,
        };
        match (class, connection.phase) {
            (Class::Silent | Class::Idle, Phase::Idle) => self.close(connection),
            (Class::Head, Phase::Head) | (Class::Body, Phase::Body) => {
                let what = if class == Class::Head { "request head" } else { "request body" };
                let peer = peer_name(connection.client());
                self.notices
                    .push(Severity::Info, || format!("{what} from {peer} took too long: 408"));
                self.reject(connection, Status::REQUEST_TIMEOUT, &[]);
            }
            (Class::Write, Phase::Writing) if connection.looks_without_progress() < WRITE_LOOKS => {
                self.connections.set_deadline(key, Class::Write, self.now);
                self.connections.put(connection);
            }
            (Class::Write, Phase::Writing) => {
                let peer = peer_name(connection.client());
                self.notices.push(Severity::Info, || {
                    format!("{peer} has stopped reading its response: connection closed")
                });
                self.abort(connection);
            }
            (Class::Linger, Phase::Lingering) if connection.still_sends(LINGER_LOOKS) => {
                self.connections.set_deadline(key, Class::Linger, self.now);
                self.connections.put(connection);
            }
            (Class::Linger, Phase::Lingering) => self.close(connection),
            (Class::Handshake, Phase::Handshake) => self.tire_of_handshake(connection),
            _ => self.connections.put(connection),
        }
    }

    fn check_works(&mut self) {
        let (deadline, slow_after) = (self.options.request_deadline, self.options.slow_after);
        let mut told = false;
        let mut overdue = false;
        let cells = self.cells();
        for (thread, work) in self.works.iter_mut().enumerate() {
            if work.next_deadline(deadline, slow_after) <= self.now {
                let date = self.date.at(unix_seconds());
                let became_overdue = work.check(thread, self.now, deadline, slow_after, date);
                if self.hub.is_some() && work.has_reports() {
                    self.unexplained.push(work.request());
                }
                if became_overdue {
                    if thread < cells {
                        self.board.cell(self.slot, thread).set_overdue();
                    }
                    overdue = true;
                }
            }
            if work.has_reports() {
                let cell = self.board.incident_cell(self.slot, thread.min(cells - 1));
                told |= work.post(|incident| cell.report(incident));
            }
        }
        if told {
            self.board.notify();
        }
        if overdue && self.is_stuck() {
            self.refuse_waiting();
            self.move_soon();
            self.arm_listeners();
        }
    }

    /// Requests in an event loop that have become slow or overdue.
    fn check_seats(&mut self) {
        while let Some(Reminder { key, seat, kind }) = self.seats.remind(self.now) {
            if kind == IncidentKind::Overdue {
                if seat.index() < self.cells() {
                    self.cell(seat.index()).set_overdue();
                }
                self.news.push_back(News::Overdue(key));
            } else {
                self.news.push_back(News::Slow(key));
            }
        }
        let mut told = false;
        while let Some(incident) = self.seats.unreported.front() {
            let cell = incident.thread.min(self.cells().saturating_sub(1));
            if !self.board.incident_cell(self.slot, cell).report(incident) {
                break;
            }
            self.seats.unreported.pop_front();
            told = true;
        }
        if told {
            self.board.notify();
        }
    }

    /// How long the poller may wait.
    pub fn patience(&self) -> Span {
        if !self.events.is_empty() {
            return Span::ZERO;
        }
        let (deadline, slow_after) = (self.options.request_deadline, self.options.slow_after);
        let mut until = self.connections.next_deadline().min(self.next_beat);
        until = until.min(self.next_refusal()).min(self.next_look()).min(self.seats.next_due());
        if !self.seats.unreported.is_empty() {
            until = until.min(self.now.after(WATCH));
        }
        for work in &self.works {
            until = until.min(work.next_deadline(deadline, slow_after));
            if work.has_reports() {
                until = until.min(self.now.after(WATCH));
            }
        }
        let leading = matches!(self.lead, Lead::Thread(_)) as usize;
        let others_work = self.parked.len() + leading < self.works.len();
        // A hub says when it begins something that is due earlier.
        if self.hub.is_none()
            && self.works.len() > 1
            && others_work
            && (deadline != Span::FOREVER || slow_after != Span::FOREVER)
        {
            until = until.min(self.now.after(WATCH));
        }
        if let Some(hub) = &self.hub {
            until = until.min(hub.late_from());
        }
        if self.listeners.paused_until() > self.now {
            until = until.min(self.listeners.paused_until());
        }
        if let Some(draining) = &self.draining {
            until = until.min(draining.until);
            if draining.idle_until > self.now {
                until = until.min(draining.idle_until);
            }
        }
        until.since(self.now)
    }
}
