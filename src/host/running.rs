//! Stacks of goroutines that are on a CPU: their threads are stopped for a moment each.
//!
//! One thread does all tracing and ends; whatever it could not let go is let go by its end. A
//! reaping wait of the same process would steal the stops, so PID 1 never runs this itself.

use super::described::Threads;
use crate::go::goroutine::Status;
use crate::go::walk::{Registers, Walker};
use crate::sys::{clock, trace};
use crate::units::Mono;
use std::sync::mpsc;
use std::time::Duration;

/// Goroutines on a CPU that are looked at; more than CPUs is pointless.
const RUNNING: usize = 256;
/// Tries per goroutine: a thread may stand in the kernel's or the scheduler's code.
const TRIES: usize = 20;
/// The longest wait for one thread: a throttled group runs again after some periods.
const PATIENCE: Duration = Duration::from_secs(1);

enum Order {
    Stop(i32),
    Release,
}

/// Adds the stacks of running goroutines, as far as `deadline` allows.
pub(crate) fn add_stacks(threads: &Threads, walker: &mut Walker<'_, '_>, deadline: Mono) {
    let running: Vec<(usize, u64, i32)> = walker
        .goroutines()
        .iter()
        .enumerate()
        .filter(|(_, goroutine)| goroutine.status == Status::RUNNING && goroutine.thread != 0)
        .filter_map(|(number, goroutine)| {
            let here = threads.here(goroutine.thread)?;
            Some((number, goroutine.address, i32::try_from(here).ok()?))
        })
        .take(RUNNING)
        .collect();
    if running.is_empty() {
        return;
    }
    std::thread::scope(|scope| {
        let (order, orders) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        scope.spawn(move || serve(&orders, &answer, deadline));
        for (number, address, thread) in running {
            for _ in 0..TRIES {
                if clock::mono() >= deadline || order.send(Order::Stop(thread)).is_err() {
                    return;
                }
                let Ok(Some(registers)) = answers.recv() else { break };
                let stack = walker.running(address, registers);
                if order.send(Order::Release).is_err() {
                    return;
                }
                if let Some(stack) = stack {
                    walker.set_stack(number, stack);
                    break;
                }
                trace::pause(1);
            }
        }
    });
}

/// The tracing thread: stops, answers, lets go, until nobody asks any more.
fn serve(orders: &mpsc::Receiver<Order>, answer: &mpsc::Sender<Option<Registers>>, end: Mono) {
    while let Ok(order) = orders.recv() {
        let Order::Stop(thread) = order else { continue };
        let registers = stop(thread, end);
        if answer.send(registers).is_err() {
            return;
        }
        if registers.is_some() {
            // Whatever comes next, the thread must go on first.
            let _ = orders.recv();
        }
        let _ = trace::release(thread);
    }
}

fn stop(thread: i32, end: Mono) -> Option<Registers> {
    trace::stop(thread).ok()?;
    let patience = clock::mono().after(PATIENCE).min(end);
    while !trace::has_stopped(thread).ok()? {
        if clock::mono() >= patience {
            return None;
        }
        std::thread::yield_now();
    }
    let place = trace::place(thread).ok()?;
    Some(Registers { pc: place.pc, sp: place.sp, link: place.link })
}
