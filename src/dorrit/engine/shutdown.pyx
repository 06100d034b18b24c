# cython: language_level=3, freethreading_compatible=False
"""The end of an engine's connections, in order or at once."""

from dorrit.engine.accept cimport answer_at_last, stop_listening
from dorrit.engine.c.connection cimport DORRIT_HANDSHAKING, DORRIT_HELD, DORRIT_OPEN
from dorrit.engine.calls cimport call_listeners
from dorrit.engine.channel cimport send_said
from dorrit.engine.connection cimport Connection
from dorrit.engine.fork cimport close_descriptors
from dorrit.engine.head cimport refuse
from dorrit.engine.life cimport close_in_order, close_socket
from dorrit.engine.references cimport references_drop
from dorrit.engine.table cimport all_connections
from dorrit.engine.turn cimport check_outside_turn, settle_all

from dorrit.protocol.refusal import STOPPING, refusal


cdef int begin_shutdown(Engine engine, uint16_t code, str reason) except -1:
    cdef Connection connection
    check_outside_turn(engine)
    stop_listening(engine)
    engine.shutting_down = True
    for item in all_connections(engine):
        connection = <Connection>item
        if connection.state.writing == DORRIT_HELD:
            refuse(connection, refusal(*STOPPING))
        elif connection.state.life == DORRIT_OPEN:
            connection.state.closed_here = True
            close_in_order(connection, code, reason)
        elif connection.state.life == DORRIT_HANDSHAKING:
            answer_at_last(engine, connection)
    return 0


cdef int end_shutdown(Engine engine) except -1:
    check_outside_turn(engine)
    for item in all_connections(engine):
        close_socket(<Connection>item)
    engine.in_turn = True     # a close callback must not turn the loop in between
    try:
        settle_all(engine)
        call_listeners(engine)      # what the last close callbacks have published
    finally:
        engine.in_turn = False
        engine.shutting_down = False
    return 0


cdef int close_engine(Engine engine) except -1:
    check_outside_turn(engine)
    for item in all_connections(engine):
        close_socket(<Connection>item)
    references_drop(&engine.dirty)
    references_drop(&engine.ended)
    references_drop(&engine.resumed)
    references_drop(&engine.touched)
    if engine.recording is not None:
        engine.recording.let_go()
    engine.on_open = engine.on_message = engine.on_close = engine.drain = engine.on_room = None
    engine.on_subscribed = None
    engine.on_messages = None
    engine.calls.clear()
    engine.listeners = {}
    engine.heard_topics.clear()
    engine.to_confirm.clear()
    engine.timers = []
    engine.watched = {}
    engine.listener = -1
    if engine.channel is not None:
        send_said(engine.channel, -1)
    close_descriptors(engine)
    return 0
