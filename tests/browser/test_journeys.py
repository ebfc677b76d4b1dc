"""What people do on the pages, done in a browser."""

import re
import signal

from service.states import JobStatus
from tests.browser.chromium import PATIENCE, Visitor
from tests.browser.site import MANY, Site
from tests.integration.jobs_lab import until


def test_a_key_signs_in_and_another_does_not(site: Site, stranger: Visitor) -> None:
    page = stranger.page
    stranger.open("/queue")
    assert "/login" in page.url
    page.get_by_label("Key").fill("tdm_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("This is not a valid key").wait_for()
    assert len(stranger.errors) == 1  # the browser notes the 401 of the form
    stranger.errors.clear()
    page.get_by_label("Key").fill(site.key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.url}/queue")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/login"))
    stranger.open("/queue")
    assert "/login" in page.url


def test_a_job_is_watched_to_its_end_without_a_reload(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    job_id = site.slow_job()
    visitor.open(f"/jobs/{job_id}")
    page.evaluate("window.notReloaded = true")
    assert page.locator("[data-ended]").count() == 0
    page.get_by_role("button", name="Cancel this job").wait_for()
    values = page.locator("figure[data-plot] details").first
    values.locator("summary").click()  # the plots come once there is something to show
    page.locator("[data-ended]").wait_for(timeout=3 * PATIENCE)
    assert values.get_attribute("open") is not None
    assert page.get_by_role("button", name="Cancel this job").count() == 0
    assert page.evaluate("window.notReloaded")
    assert site.lab.job(job_id).status == JobStatus.SUCCEEDED


def test_a_job_is_cancelled_by_its_button(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    job_id = site.slow_job()
    visitor.open(f"/jobs/{job_id}")
    until(lambda: site.lab.job(job_id).started_at is not None, "the job has started")
    assert site.lab.job(job_id).ended_at is None
    page.get_by_role("button", name="Cancel this job").click()
    page.locator("h1[data-ended]").wait_for()
    assert "cancelled" in page.locator("h1").inner_text()
    assert site.lab.job(job_id).status == JobStatus.CANCELLED


def test_the_fleet_leads_to_a_chip_its_job_and_a_layer(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    page.get_by_role("searchbox").fill("bench")
    page.get_by_role("button", name="Show").click()
    page.locator("table").first.get_by_role("link", name="bench-1").click()
    page.wait_for_url(re.compile("/chips/"))
    page.get_by_role("link", name="last calibration").click()
    page.wait_for_url(f"{site.url}/jobs/{site.job_id}")
    rows = page.get_by_role("region", name="Rate error of each hidden layer").locator("tbody tr")
    assert rows.count() == 1
    assert re.search(r"\d\.\d{4}\s+\d\.\d{4}", rows.first.inner_text())


def test_a_frozen_service_raises_the_warning_until_it_answers(site: Site, visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    warning = page.locator("[data-warning]")
    page.locator("[data-age]", has_text="updated").wait_for()
    assert not warning.is_visible()
    site.service.process.send_signal(signal.SIGSTOP)
    try:
        warning.wait_for(state="visible")
        assert "does not answer" in warning.inner_text()
    finally:
        site.service.process.send_signal(signal.SIGCONT)
    warning.wait_for(state="hidden")


def test_300_chips_are_filtered_by_health_and_name(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/")
    rows = page.locator("tr[id^=chip-]")
    assert rows.count() == 100
    assert f"{MANY + 2} chips" in page.locator("h1").inner_text()
    page.get_by_label("Health").select_option("drifting")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("health=drifting"))
    assert rows.locator("td:first-child").all_inner_texts() == ["many-000", "many-100", "many-200"]
    page.get_by_role("searchbox").fill("many-2")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("q=many-2"))
    assert rows.locator("td:first-child").all_inner_texts() == ["many-200"]


def test_arrow_keys_go_through_the_strip_which_is_one_tab_stop(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open("/?q=many&sort=name")
    page.locator("[data-strip]").focus()
    said = page.locator("[data-strip] output")
    said.filter(has_text="many-000: drifting").wait_for()
    page.keyboard.press("ArrowRight")
    said.filter(has_text="many-001: good").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/chips/many-001"))
