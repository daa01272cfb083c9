//! The sentinel: the engine's own thread, which watches the leader and stands in for it.
//!
//! It never touches Python. It sleeps while the worker is idle, ticks while it is busy, and leads
//! only while every app thread is in an app; in a cooperative worker it always does.

use super::*;

impl<G: Gateway> Shared<G> {
    /// The sentinel's life.
    pub(super) fn watch(&self) {
        let mut exchange = Exchange::new(Arc::default(), self.options.write_timeout);
        let mut events = Events::new();
        let mut seen = 0;
        let mut quiet = 0;
        let mut tick = TICK;
        loop {
            thread::park_timeout(tick);
            if self.stop.load(SeqCst) {
                // There may be no app thread that would see it.
                let mut reactor = self.lock();
                reactor.end();
                self.spread_the_end(&mut reactor);
                return;
            }
            let turn = self.turns.load(SeqCst);
            let changed = turn != seen;
            // Every call makes two turns: away and back.
            let calls = turn.wrapping_sub(seen) / 2;
            let per_tick = calls / (tick.as_millis() / TICK.as_millis()) as u64;
            tick = match self.options.event_loop {
                Some(_) => LOOP_TICK,
                None if per_tick > QUICK_CALLS => LONG_TICK,
                None => TICK,
            };
            seen = turn;
            if turn & 1 == 1 && !changed {
                // The same turn for a whole tick: the leader is stuck in an app.
                let mut reactor = self.lock();
                if let Lead::Thread(stuck) = reactor.lead
                    && self.turns.load(SeqCst) == turn
                    && self.is_missed(&mut reactor)
                {
                    self.hand_over(&mut reactor);
                    self.write_lines_of(reactor, stuck);
                }
            }
            // A worker that is quick shall not find its lock taken at every tick.
            if self.sentinel_called.swap(false, SeqCst)
                && !self.lead_as_sentinel(&mut exchange, &mut events)
            {
                return;
            }
            // A loop that waits around us looks as if it were away.
            let away = turn & 1 == 1 && self.options.event_loop != Some(EventLoop::Around);
            quiet = if changed || away { 0 } else { quiet + 1 };
            if quiet > QUIET_TICKS {
                self.sentinel_asleep.store(true, SeqCst);
                while self.sentinel_asleep.load(SeqCst)
                    && self.turns.load(SeqCst) == seen
                    && !self.stop.load(SeqCst)
                {
                    thread::park();
                    let reactor = self.lock();
                    if reactor.ended {
                        return;
                    }
                    if reactor.lead == Lead::Sentinel {
                        break;
                    }
                }
                self.sentinel_asleep.store(false, SeqCst);
                quiet = 0;
            }
        }
    }

    /// Leads while the lead is the sentinel's. False when the engine has ended.
    fn lead_as_sentinel(&self, exchange: &mut Exchange<G>, events: &mut Events) -> bool {
        let mut reactor = self.lock();
        loop {
            if reactor.lead != Lead::Sentinel {
                return !reactor.ended;
            }
            self.take_requests_of_others(&mut reactor);
            if reactor.ended {
                self.spread_the_end(&mut reactor);
                return false;
            }
            if (reactor.has_work() || reactor.signals || reactor.reclaimed)
                && let Some(next) = reactor.parked.pop()
            {
                reactor.lead = Lead::Thread(next);
                self.wakes[next].notify_one();
                reactor.arm_listeners();
                return true;
            }
            if let Some((source, flags)) = reactor.events.pop_front() {
                if reactor.handle(source, flags, exchange) {
                    reactor.queue(exchange);
                }
                continue;
            }
            reactor.tick();
            if reactor.ended || !reactor.events.is_empty() {
                continue;
            }
            if reactor.has_work() && !reactor.parked.is_empty() {
                continue;
            }
            self.call_hub(&mut reactor);
            if self.options.event_loop == Some(EventLoop::Around) {
                // The loop sees only that the poller is readable, and it has to stay so until the
                // loop comes: we look for more now and then.
                self.poller.kick();
                drop(reactor);
                thread::park_timeout(LOOP_TICK);
                reactor = self.lock();
                if reactor.lead != Lead::Sentinel {
                    continue;
                }
            }
            reactor = self.poll(reactor, events).0;
        }
    }

    /// Writes the log lines of a thread that is stuck in an app: it may not live to do it.
    fn write_lines_of(&self, reactor: MutexGuard<'_, Reactor<G>>, stuck: usize) {
        let lines = match reactor.works.get(stuck) {
            Some(work) => Arc::clone(&work.lines),
            None => Arc::clone(&reactor.loop_lines),
        };
        drop(reactor);
        // A line that is being made will be written by who makes it.
        let written = lines.try_lock().map_or(Ok(()), |mut lines| lines.flush());
        self.complain_of_lines(&mut self.lock(), written);
    }
}
