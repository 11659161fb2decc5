from elmgan.reporting.record import machine


def test_the_machine_is_described() -> None:
    described = machine()
    assert described["platform"]
    assert described["processor"]
    assert isinstance(described["cores"], int)
