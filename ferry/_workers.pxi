# An agent and the worker processes that it has started itself: AsyncVectorEnv's step path.
#
# The two trust each other, as anybody trusts his own children: what has no typed field travels pickled, and comes out
# as the object that went in. A STEP without a blob has its actions in the slot, one with a blob a list of them, by row.
# A RESET's blob is (seeds, options), a CALL's whatever the modules above make of it. An answer's blob is a map from
# rows to infos, in the format VALUES a list of this map and the values of fields. What becomes of a row whose episode
# has ended is the worker's affair, and the library's autoreset is off: what an env returns at an end arrives as it was.


cdef bint is_typed(Node node, object value):
    """Whether a value of the batched space is one of arrays that go into the slots as they are."""
    cdef Py_ssize_t i
    if isinstance(node, Column):
        return cnp.PyArray_CheckExact(value) and (<Column>node).fits(<PyObject *>value)
    if isinstance(node, Mapping):
        if type(value) is not dict or len(<dict>value) != len((<Mapping>node).keys) or not (<Mapping>node).keys:
            return False
        for i in range(len((<Mapping>node).keys)):
            key = (<Mapping>node).keys[i]
            if key not in <dict>value or not is_typed((<Mapping>node).nodes[i], (<dict>value)[key]):
                return False
        return True
    if isinstance(node, Sequence):
        if type(value) is not tuple or len(<tuple>value) != len((<Sequence>node).nodes) or not (<Sequence>node).nodes:
            return False
        for i in range(len((<Sequence>node).nodes)):
            if not is_typed((<Sequence>node).nodes[i], (<tuple>value)[i]):
                return False
        return True
    return False


cdef int fix(Node node) except -1:
    """Has every array of a tree made once, and filled anew each time."""
    if isinstance(node, Column):
        (<Column>node).fixed = np.zeros(
            tuple([(<Column>node).shape[i] for i in range((<Column>node).ndim)]), (<Column>node).dtype
        )
    elif isinstance(node, Mapping):
        for part in (<Mapping>node).nodes:
            fix(part)
    elif isinstance(node, Sequence):
        for part in (<Sequence>node).nodes:
            fix(part)
    return 0


cdef class Workers(Agents):
    """The channels to an agent's own workers: `trusted`, with autoreset DISABLED.

    Arguments as for Agents, without a merge.
    """

    cdef list values  # by channel: what its last answers said of fields that do not lie in the slot

    def __init__(self, agents, rows, bell, merge):
        cdef Agent agent = agents[0]
        cdef Extra extra = agent.extra
        others = [
            number
            for number, field in enumerate(agent.form.fields)
            if field.role == FERRY_OBSERVATION and field.kind == FERRY_OTHER
        ]
        memset(self.states, PLAYING, self.whole.total)  # whether they may be stepped, the workers know
        self.values = [
            {number + extra.num_fields * row: None for row in range(count) for number in others} for count in rows
        ]

    def fix(self):
        """Has observations lie in the same arrays each time."""
        fix(self.observation)

    def send_typed(self, actions):
        """Sends actions to all rows, if they are arrays of exactly the dtypes and shapes of the batched action space.

        Returns:
            Whether they are; otherwise nothing was sent.
        """
        cdef Exchange exchange = self.whole
        cdef uint32_t i
        if not is_typed(self.action, actions):
            return False
        self.enter(exchange)
        try:
            self.take_turns(exchange)
            self.action.scatter(exchange, actions)
            for i in range(exchange.count):
                self.post(exchange, i, FERRY_STEP, None)
        finally:
            self.leave(exchange)
        return True

    def send_blobs(self, uint32_t kind, contents, members=None, rows=None):
        """Sends a turn with a blob to some channels, to all for None.

        Args:
            kind: STEP, RESET or CALL.
            contents: For each of the channels bytes, or None for no blob.
            members: Their numbers.
            rows: For each of the channels a uint32 array with the rows that it is about, or None for all.
        """
        cdef Exchange exchange = self.among(members)
        cdef ferry_turn *turn
        cdef cnp.ndarray some
        cdef uint32_t i
        self.enter(exchange)
        try:
            self.take_turns(exchange)
            for i in range(exchange.count):
                if rows is not None and rows[i] is not None:
                    some = rows[i]
                    turn = <ferry_turn *>exchange.turns[i]
                    turn.rows, turn.num_rows = <const uint32_t *>cnp.PyArray_DATA(some), <uint32_t>len(some)
                self.post(exchange, i, kind, None if contents[i] is None else (FERRY_MSGPACK, contents[i]))
        finally:
            self.leave(exchange)

    cdef int take_turns(self, Exchange exchange) except -1:
        """The turns to fill; an error comes before anything is sent."""
        cdef uint32_t i
        for i in range(exchange.count):
            exchange.turns[i] = (<Agent>self.agents[exchange.members[i]]).turn()
        return 0

    cdef int post(self, Exchange exchange, uint32_t i, uint32_t kind, tuple content) except -1:
        cdef ferry_turn *turn = <ferry_turn *>exchange.turns[i]
        if content is not None:
            set_blob(&turn.blob, content)
        turn.kind = kind
        (<Agent>self.agents[exchange.members[i]]).send(kind)
        return 0

    def collect(self, members=None, timeout=None):
        """Waits for the answers of some channels, of all for None, and takes them.

        Args:
            members: Numbers of channels.
            timeout: Seconds, None for ever.

        Returns:
            (late, errors, result). Late: the numbers of those that have not answered, who go on owing it; if there are
            any, nothing was taken. Errors: by number of the channel. If there is neither, the result is for a STEP
            (observations, rewards, terminations, truncations, infos), for a RESET (observations, infos), with infos as
            pairs (row, info), and for a CALL a list of what each channel has returned. What there is not is None.
        """
        cdef Exchange exchange = self.among(members)
        cdef Agent agent
        cdef dict errors = None
        cdef uint32_t i
        self.enter(exchange)
        try:
            if not self.wait_for(exchange, exchange.count, nanoseconds(timeout)):
                return [exchange.members[i] for i in range(exchange.count) if not self.ready[i]], None, None
            for i in range(exchange.count):
                agent = self.agents[exchange.members[i]]
                try:
                    self.take(agent, exchange, i)
                except FerryError as error:
                    errors = errors or {}
                    errors[exchange.members[i]] = error
            if errors is not None:
                return None, errors, None
            return None, None, self.outcome(exchange)
        finally:
            self.leave(exchange)

    cdef int take(self, Agent agent, Exchange exchange, uint32_t i) except -1:
        cdef const ferry_turn *answer
        if not agent.owed:
            raise FerryError(f"{agent.label} owes no answer; there is nothing to wait for")
        agent.receive()
        agent.owed, agent.arrived = 0, False
        answer = agent.answer
        if answer.status[0] != FERRY_ROW_OK:
            agent.refused(answer, answer.kind)
        exchange.turns[i] = answer
        if answer.kind != FERRY_CALL:
            self.last[exchange.members[i]] = answer
        return 0

    cdef object outcome(self, Exchange exchange):
        cdef uint32_t i
        if exchange.turns[0].kind == FERRY_CALL:
            return [
                (<Agent>self.agents[exchange.members[i]]).returned(exchange.turns[i]) for i in range(exchange.count)
            ]
        infos = self.reports(exchange)
        if exchange.turns[0].kind == FERRY_RESET:
            return self.picture(), infos
        reward, terminated, truncated = self.numbers(exchange, None)
        return self.picture(), reward, terminated, truncated, infos

    cdef list reports(self, Exchange exchange):
        """[(row, info)] of what blobs say; values of fields are kept."""
        cdef const ferry_blob *blob
        cdef uint32_t i, member
        cdef list all_told = []
        for i in range(exchange.count):
            blob = &exchange.turns[i].blob
            if blob.format == FERRY_NONE:
                continue
            member = exchange.members[i]
            content = blob_of(blob)
            infos = (<Agent>self.agents[member]).decode(content[1], content[0])
            if content[0] == FERRY_VALUES:
                infos, values = infos
                (<dict>self.values[member]).update(values)
            all_told.extend([(self.first[member] + row, info) for row, info in infos.items()])
        return all_told

    cdef object picture(self):
        """The observation of all rows, of those too that the last exchange was not about."""
        cdef uint32_t i
        for i in range(self.count):
            self.whole.turns[i] = self.last[i]
        self.whole.incoming = self.values
        return self.observation.gather(self.whole)

    def observations(self):
        """The last observation of all rows, zeros where there was none yet."""
        self.enter(self.whole)
        try:
            return self.picture()
        finally:
            self.leave(self.whole)


cdef class WorkerEnv(Env):
    """The environments' side in a worker process, which also steps them.

    Args:
        address: "fd:N".
        fields: The field table.
        observation: Template of the observation.
        action: Template of the action.
        codecs: As Env.
        decode: As Env.
        encode: As Env.
        name: Shown to people.
        num_rows: How many environments there are.
        conform: Makes of what an env returned, which does not fit, an observation that does, or raises.
        mode: NEXT_STEP, SAME_STEP or DISABLED: what becomes of a row whose episode has ended.

    Attributes:
        row: The one that is at work, or was last.
    """

    cdef readonly uint32_t row
    cdef object conform
    cdef uint32_t mode
    cdef bytearray over  # by row: its episode has ended, and its next step resets it
    cdef dict infos

    def __init__(
        self, address, fields, observation, action, *, codecs, decode, encode, name, num_rows, conform, mode,
    ):
        super().__init__(
            address, fields, observation, action, codecs=codecs, decode=decode, encode=encode, name=name,
            num_rows=num_rows, max_bytes=UNLIMITED, trusted=True,
        )
        self.conform, self.mode, self.over, self.infos = conform, mode, bytearray(num_rows), {}

    def step(self, list envs):
        """Steps every row, or resets those whose time has come. `answer` publishes what followed.

        Args:
            envs: By row.
        """
        cdef list actions = None
        cdef uint32_t i
        self.enter()
        try:
            self.expect(FERRY_STEP)
            if self.turn.blob.format != FERRY_NONE:
                content = blob_of(&self.turn.blob)
                actions = self.decode(content[1], content[0])
            for i in range(self.turn.num_rows):
                self.row = self.extra.row = i
                if self.over[i]:
                    observation, info = envs[i].reset()
                    self.over[i] = 0
                    self.fill(observation, info)
                    continue
                self.step_row(envs[i], self.action_node.read(self.turn) if actions is None else actions[i])
        finally:
            self.extra.row = 0
            self.leave()

    cdef int step_row(self, env, action) except -1:
        cdef uint32_t row = self.row
        cdef bint ends, cut
        observation, reward, terminated, truncated, info = env.step(action)
        ends, cut = terminated, truncated
        if ends or cut:
            if self.mode == FERRY_AUTORESET_NEXT_STEP:
                self.over[row] = 1
            elif self.mode == FERRY_AUTORESET_SAME_STEP:
                # An env may use its observation's memory again.
                final = deepcopy(observation)
                observation, reset_info = env.reset()
                info = {"final_info": info, "final_obs": final, **reset_info}
        self.fill(observation, info)
        self.turn.reward[row] = reward if type(reward) is float else number_of(reward)
        self.turn.terminated[row], self.turn.truncated[row] = ends, cut
        return 0

    cdef int fill(self, observation, info) except -1:
        """Writes the row's observation; keeps its info."""
        try:
            self.observation.write(self.turn, observation)
        except Exception:
            self.observation.write(self.turn, self.conform(observation))
        if info:
            self.infos[self.row] = info
        return 0

    def reset(self, list envs):
        """Resets the rows that the turn is about. `answer` publishes what followed.

        A blob that holds None asks for nothing: after it the library lets rows be stepped that have never been reset,
        which is for their envs to mind.
        """
        cdef uint32_t i
        self.enter()
        try:
            self.expect(FERRY_RESET)
            seeds = options = None
            if self.turn.blob.format != FERRY_NONE:
                content = blob_of(&self.turn.blob)
                told = self.decode(content[1], content[0])
                if told is None:
                    return
                seeds, options = told
            for i in range(self.turn.num_rows):
                self.row = self.extra.row = self.turn.rows[i]
                observation, info = envs[self.row].reset(
                    seed=None if seeds is None else seeds[self.row], options=options
                )
                self.over[self.row] = 0
                self.fill(observation, info)
        finally:
            self.extra.row = 0
            self.leave()

    def answer(self):
        """Publishes what `step` or `reset` has written."""
        cdef ferry_blob blob
        cdef tuple content = None
        self.enter()
        try:
            if self.extra.outgoing:
                content = FERRY_VALUES, self.encode([self.infos, self.extra.outgoing], FERRY_VALUES)
            elif self.infos:
                content = FERRY_MSGPACK, self.encode(self.infos, FERRY_MSGPACK)
            if content is not None:
                self.infos, self.extra.outgoing = {}, {}
                set_blob(&blob, content)
                self.done(ferry_env_blob(self.handle, &blob))
            self.turn = NULL
            self.done(ferry_env_reply(self.handle))
        finally:
            self.leave()


cdef double number_of(reward) except *:
    """A reward as NumPy would put it into an array of float64; None is not a number there."""
    if isinstance(reward, (int, np.floating)):
        return reward
    return np.asarray(reward, np.float64).item()
