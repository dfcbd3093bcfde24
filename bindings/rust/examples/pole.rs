//! CartPole-v1 in Rust: examples/c/pole.c, step by step. `cargo run --release --example pole [ADDRESS [ROWS]]`

use ferry::{Blob, ErrorKind, Event, Format, Kind, Row, Space, Spec};
use std::f64::consts::PI;
use std::time::{SystemTime, UNIX_EPOCH};

const X_LIMIT: f64 = 2.4;
const THETA_LIMIT: f64 = 12.0 * 2.0 * PI / 360.0;
const MAX_STEPS: u32 = 500;
const BAD_OPTIONS: &str = "the options must be {} or {\"state\": [x, x_dot, theta, theta_dot]}, four finite numbers";

#[derive(Clone, Default)]
pub struct Pole {
    pub state: [f64; 4],
    rng: u64,
    steps: u32,
    fallen: bool,
}

fn inside<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    Some(text.trim().strip_prefix(open)?.strip_suffix(close)?.trim())
}

/// The four numbers of "state": [...].
fn numbers(text: &str) -> Option<[f64; 4]> {
    let list = inside(text.strip_prefix("\"state\"")?.trim_start().strip_prefix(':')?, "[", "]")?;
    let numbers: Vec<f64> = list.split(',').map(|number| number.trim().parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok().filter(|four: &[f64; 4]| four.iter().all(|x| x.is_finite()))
}

/// The state that options ask for, if they do.
fn asked(options: Option<Blob>) -> Result<Option<[f64; 4]>, &'static str> {
    let text = options.map_or("{}", |blob| std::str::from_utf8(blob.bytes).unwrap_or_default());
    match inside(text, "{", "}").ok_or(BAD_OPTIONS)? {
        "" => Ok(None),
        map => numbers(map).map(Some).ok_or(BAD_OPTIONS),
    }
}

impl Pole {
    /// splitmix64, as a number in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.rng = self.rng.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.rng ^ self.rng >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ z >> 31) >> 11) as f64 / 9007199254740992.0
    }

    pub fn reset(&mut self, seed: Option<u64>, asked: Option<[f64; 4]>) {
        self.rng = seed.unwrap_or(self.rng);
        let drawn = [(); 4].map(|()| -0.05 + 0.1 * self.uniform());
        (self.state, self.steps, self.fallen) = (asked.unwrap_or(drawn), 0, false);
    }

    /// One Euler step of 20 ms; true when the pole has fallen or the cart has left the track.
    pub fn advance(&mut self, force: f64) -> bool {
        let (gravity, pole_mass, total_mass, half_length, moment, tau) = (9.8, 0.1, 0.1 + 1.0, 0.5, 0.1 * 0.5, 0.02);
        let [x, x_dot, theta, theta_dot] = self.state;
        let (sine, cosine) = (theta.sin(), theta.cos());
        let push = (force + moment * (theta_dot * theta_dot) * sine) / total_mass;
        let spin = (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * (cosine * cosine) / total_mass));
        let shift = push - moment * spin * cosine / total_mass;
        self.state = [x + tau * x_dot, x_dot + tau * shift, theta + tau * theta_dot, theta_dot + tau * spin];
        self.state[0].abs() > X_LIMIT || self.state[2].abs() > THETA_LIMIT
    }

    fn step(&mut self, push: i64, row: &mut Row) {
        let down = self.advance(if push != 0 { 10.0 } else { -10.0 });
        self.steps += 1;
        row.set_terminated(down);
        row.set_truncated(self.steps >= MAX_STEPS);
        row.set_reward(if down && self.fallen { 0.0 } else { 1.0 }); // the fall itself still earns 1
        self.fallen |= down;
    }
}

fn main() -> Result<(), ferry::Error> {
    let arguments: Vec<String> = std::env::args().collect();
    let rows: u32 = arguments.get(2).map_or(1, |text| text.parse().expect("usage: pole [ADDRESS [ROWS]]"));
    let high = [(X_LIMIT * 2.0) as f32, f32::INFINITY, (THETA_LIMIT * 2.0) as f32, f32::INFINITY];
    let mut spec = Spec::new();
    let state = spec.observation("", Space::within_each(&high.map(|x| -x), &high, &[4]));
    let push = spec.action("", Space::discrete(2));
    spec.about(Format::Json, b"{\"metadata\": {\"render_modes\": [], \"render_fps\": 50}}");
    let mut env = spec.address(arguments.get(1).map_or("pole", String::as_str)).rows(rows).open()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut poles: Vec<Pole> = (0..u64::from(rows)).map(|i| Pole { rng: now + (i << 40), ..Pole::default() }).collect();
    loop {
        let mut turn = match env.wait(None) {
            Ok(Event::Turn(turn)) => turn,
            Ok(_) => continue,                                            // when one agent has left, the next may come
            Err(end) if end.kind() == ErrorKind::Closed => return Ok(()), // an inherited connection ends with its agent
            Err(error) => return Err(error),
        };
        let kind = turn.kind();
        let start = match asked(turn.blob()) {
            Ok(start) => start,
            Err(text) => {
                turn.fail(text)?;
                continue;
            }
        };
        while let Some(mut row) = turn.next_row() {
            let pole = &mut poles[row.number() as usize];
            match kind {
                Kind::Step => pole.step(row.action(push)[0], &mut row),
                _ => pole.reset(row.seed(), start),
            }
            row.observation(state).copy_from_slice(&pole.state.map(|x| x as f32));
        }
        turn.reply()?;
    }
}
