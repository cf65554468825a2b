"""A simulated platform: answers as the real one is known to, for invented students.

The map::

    command        the platform as a process of its own
    launch         that process, started and ended by `aims-server demo`
    platform       all of it, to start, steer and stop
    handlers       HTTP in and out
    gate           answers held until told
    counters       what was asked, how much at once
    socket_faults  what goes wrong on the socket
    wrong_answers  sound HTTP, wrong content
    faults         what goes wrong, and how often
    backend        what each call is answered
    records        course files and cards in the platform's shapes
    pages          quizzes and the month's table in the platform's shapes
    college        students and their marks
    timetable      when classes are held
    tokens         the JWT of a login
    switches       what is not known of the platform, to choose
    catalogue      invented names and courses

Nothing here is a real person, token or PIN.
"""
